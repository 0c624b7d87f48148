//go:build libfuzzer

package target

// #include <stddef.h>
// extern const char *fuzz_target;
// extern const char *fuzz_package;
import "C"

import "unsafe"

// LLVMFuzzerTestOneInput is what libFuzzer calls. The program is linked with the name of the
// function that it is to fuzz.
//
//export LLVMFuzzerTestOneInput
func LLVMFuzzerTestOneInput(data *C.char, size C.size_t) C.int {
	fuzz(C.GoString(C.fuzz_target), C.GoString(C.fuzz_package), C.GoBytes(unsafe.Pointer(data), C.int(size)))
	return 0
}
