// SPDX-License-Identifier: Apache-2.0

import DistributorCore
import Testing

@Suite struct SegmentSizesTests {
  @Test(
    arguments: [
      (1500, 1460, 1440), (1472, 1432, 1412), (1372, 1332, 1312), (100, 60, 48), (0, 48, 48), (-9, 48, 48),
      (1 << 20, 65_535, 65_535),
    ] as [(Int, UInt16, UInt16)])
  func sizesLeaveRoomForTheHeaders(_ example: (longest: Int, ipv4: UInt16, ipv6: UInt16)) {
    let sizes = SegmentSizes(longestPacket: example.longest)
    #expect(sizes.ipv4 == example.ipv4 && sizes.ipv6 == example.ipv6, "\(sizes)")
  }
}
