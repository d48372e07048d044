// SPDX-License-Identifier: Apache-2.0

#ifndef LIBFUZZER_H
#define LIBFUZZER_H

#include <stddef.h>
#include <stdint.h>

/// Runs libFuzzer with the program's arguments (https://llvm.org/docs/LibFuzzer.html, "Using libFuzzer as a library").
/// Its own `main` cannot be used: SwiftPM renames the entry point of each executable.
int LLVMFuzzerRunDriver(int *argc, char ***argv, int (*callback)(const uint8_t *data, size_t size));

#endif
