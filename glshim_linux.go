//go:build linux && cgo && !nogui && !ci

package main

// The desktop build must also start with --headless where no GL library
// exists. Of libGL the toolkit needs one symbol at link time, the one that
// finds all others; it is defined here and opens the library when it is first
// asked. --as-needed then leaves libGL out of what the loader demands. X11 is
// opened at run time by the toolkit itself.

/*
#cgo LDFLAGS: -Wl,--as-needed -ldl

#include <dlfcn.h>
#include <stddef.h>

typedef void (*tertulia_proc)(void);

tertulia_proc glXGetProcAddress(const unsigned char *name);

// Called on the toolkit's one thread only. NULL makes the toolkit report that
// the function is missing.
tertulia_proc glXGetProcAddress(const unsigned char *name) {
	static tertulia_proc (*find)(const unsigned char *);
	if (find == NULL) {
		void *lib = dlopen("libGL.so.1", RTLD_NOW | RTLD_GLOBAL);
		if (lib == NULL) {
			return NULL;
		}
		find = (tertulia_proc (*)(const unsigned char *))dlsym(lib, "glXGetProcAddress");
		if (find == NULL) {
			return NULL;
		}
	}
	return find(name);
}
*/
import "C"
