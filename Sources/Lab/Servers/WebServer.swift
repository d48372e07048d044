// SPDX-License-Identifier: Apache-2.0

/// The web servers that the lab runs, as Debian packages them.
public enum WebServer: String, CaseIterable, Sendable, Codable {
  case nginx
  case apache
  case caddy
  case lighttpd
}

/// One web server to be started: where it listens, what it serves, where it writes.
///
/// Configurations are written for an unprivileged user, ask for few workers, keep connections alive, listen on
/// `0.0.0.0:port` and `[::]:port`, serve `root`, hand `/app/` to an application on the node's loopback, and write an
/// access log with the peer's address and port.
public struct WebServerInstance: Sendable {
  public var kind: WebServer
  public var port: UInt16
  /// Document root.
  public var root: String
  /// Configuration, logs and temporary files; owned by `www-data`.
  public var folder: String
  /// Port of the application on 127.0.0.1.
  public var applicationPort: UInt16

  public var accessLog: String { "\(folder)/access.log" }
  var configurationFile: String { "\(folder)/\(kind == .caddy ? "caddy.json" : "\(kind).conf")" }

  var configuration: String {
    switch kind {
    case .nginx: nginxConfiguration
    case .apache: apacheConfiguration
    case .caddy: caddyConfiguration
    case .lighttpd: lighttpdConfiguration
    }
  }

  /// Runs in the foreground.
  var command: [String] {
    switch kind {
    case .nginx: ["nginx", "-e", "\(folder)/error.log", "-c", configurationFile]
    case .apache: ["apache2", "-D", "FOREGROUND", "-f", configurationFile]
    case .caddy: ["caddy", "run", "--config", configurationFile]
    case .lighttpd: ["lighttpd", "-D", "-f", configurationFile]
    }
  }

  var environment: [String: String] {
    switch kind {
    case .caddy: ["HOME": folder, "XDG_DATA_HOME": folder, "XDG_CONFIG_HOME": folder]
    case .nginx, .apache, .lighttpd: [:]
    }
  }
}

extension WebServerInstance {
  private var nginxConfiguration: String {
    """
    daemon off;
    worker_processes 1;
    worker_rlimit_nofile 20000;
    pid \(folder)/nginx.pid;
    error_log \(folder)/error.log warn;
    events { worker_connections 16384; }
    http {
      log_format lab '$msec $remote_addr $remote_port $request_method $request_uri $status $body_bytes_sent';
      access_log \(accessLog) lab;
      client_body_temp_path \(folder)/body;
      proxy_temp_path \(folder)/proxy;
      fastcgi_temp_path \(folder)/fastcgi;
      uwsgi_temp_path \(folder)/uwsgi;
      scgi_temp_path \(folder)/scgi;
      client_max_body_size 0;
      types { text/html html; text/css css; application/javascript js; image/png png; image/jpeg jpg; image/svg+xml svg; }
      default_type application/octet-stream;
      sendfile on;
      tcp_nopush on;
      keepalive_requests 100000;
      keepalive_timeout 600s;
      map $http_upgrade $connection_upgrade { default upgrade; '' close; }
      server {
        listen 0.0.0.0:\(port) backlog=4096;
        listen [::]:\(port) ipv6only=on backlog=4096;
        root \(root);
        location /app/ {
          proxy_pass http://127.0.0.1:\(applicationPort);
          proxy_http_version 1.1;
          proxy_request_buffering off;
          proxy_set_header Upgrade $http_upgrade;
          proxy_set_header Connection $connection_upgrade;
        }
      }
    }

    """
  }

  private var apacheConfiguration: String {
    let modules = [
      "mpm_event", "authz_core", "mime", "dir", "proxy", "proxy_http", "reqtimeout",
    ]
    let loads = modules.map { "LoadModule \($0)_module /usr/lib/apache2/modules/mod_\($0).so\n" }.joined()
    return """
      ServerRoot \(folder)
      DefaultRuntimeDir \(folder)
      PidFile \(folder)/apache.pid
      ServerName lab
      Listen 0.0.0.0:\(port)
      Listen [::]:\(port)
      ListenBacklog 4096
      \(loads)ErrorLog \(folder)/error.log
      LoadModule headers_module /usr/lib/apache2/modules/mod_headers.so
      LogFormat "%{usec}t %a %{remote}p %m %U%q %>s %B" lab
      CustomLog \(accessLog) lab
      TypesConfig /etc/mime.types
      DocumentRoot \(root)
      <Directory />
        Require all granted
        AllowOverride None
      </Directory>
      StartServers 1
      ServerLimit 4
      ThreadsPerChild 64
      ThreadLimit 64
      MaxRequestWorkers 256
      AsyncRequestWorkerFactor 40
      EnableSendfile On
      KeepAlive On
      KeepAliveTimeout 75
      MaxKeepAliveRequests 0
      RequestReadTimeout header=0 body=0
      ProxyPass /app/ http://127.0.0.1:\(applicationPort)/app/ upgrade=websocket flushpackets=on

      """
  }

  private var lighttpdConfiguration: String {
    """
    server.modules = ("mod_accesslog", "mod_proxy")
    server.document-root = "\(root)"
    server.bind = "0.0.0.0"
    server.port = \(port)
    $SERVER["socket"] == "[::]:\(port)" { server.set-v6only = "enable" }
    server.pid-file = "\(folder)/lighttpd.pid"
    server.errorlog = "\(folder)/error.log"
    server.upload-dirs = ("\(folder)")
    server.listen-backlog = 4096
    server.max-fds = 16384
    server.max-connections = 8192
    server.max-keep-alive-requests = 100000
    server.max-keep-alive-idle = 75
    server.stream-request-body = 2
    server.stream-response-body = 2
    accesslog.filename = "\(accessLog)"
    accesslog.format = "%{usec}t %a %{remote}p %m %U%q %s %B"
    mimetype.assign = (
      ".html" => "text/html", ".css" => "text/css", ".js" => "application/javascript",
      ".png" => "image/png", ".jpg" => "image/jpeg", ".svg" => "image/svg+xml",
      "" => "application/octet-stream"
    )
    $HTTP["url"] =~ "^/app/" {
      proxy.server = ("" => (("host" => "127.0.0.1", "port" => \(applicationPort))))
      proxy.header = ("upgrade" => "enable")
    }

    """
  }

  private var caddyConfiguration: String {
    """
    {
      "admin": {"disabled": true, "config": {"persist": false}},
      "logging": {"logs": {
        "default": {"writer": {"output": "stderr"}, "level": "WARN", "exclude": ["http.log.access"]},
        "access": {
          "writer": {"output": "file", "filename": "\(accessLog)", "roll": false},
          "encoder": {"format": "json"}, "include": ["http.log.access"]
        }
      }},
      "apps": {"http": {"servers": {"lab": {
        "listen": ["tcp4/0.0.0.0:\(port)", "tcp6/[::]:\(port)"],
        "protocols": ["h1"],
        "automatic_https": {"disable": true},
        "logs": {"default_logger_name": ""},
        "routes": [
          {"match": [{"path": ["/app/*"]}], "handle": [
            {"handler": "reverse_proxy", "flush_interval": -1,
             "upstreams": [{"dial": "127.0.0.1:\(applicationPort)"}]}
          ]},
          {"handle": [{"handler": "file_server", "root": "\(root)"}]}
        ]
      }}}}
    }

    """
  }
}
