/* The few functions that Android's libonnxruntime4j_jni.so asks for, under the version names that Android gives them,
   passed on to this machine's: with -DONNXRUNTIME for libonnxruntime.so, else for libc.so, libm.so and libdl.so. */

#include <stddef.h>

#define UNDER(version, function, name) __asm__(".symver " #function "," #name "@" version)
#define PASS_ON(version, type, name, parameters, arguments)     \
  extern type name parameters;                                  \
  type passed_on_##name parameters { return name arguments; }   \
  UNDER(version, passed_on_##name, name)

#ifdef ONNXRUNTIME
#define VERSION "VERS_" ONNXRUNTIME
PASS_ON(VERSION, const void *, OrtGetApiBase, (void), ());
PASS_ON(VERSION, void *, OrtSessionOptionsAppendExecutionProvider_CPU, (void *options, int arena), (options, arena));
void *no_nnapi(void) { return NULL; }
UNDER(VERSION, no_nnapi, OrtSessionOptionsAppendExecutionProvider_Nnapi);
#else
#define VERSION "LIBC"
PASS_ON(VERSION, void *, malloc, (size_t size), (size));
PASS_ON(VERSION, void *, realloc, (void *old, size_t size), (old, size));
PASS_ON(VERSION, void, free, (void *old), (old));
PASS_ON(VERSION, size_t, strlen, (const char *text), (text));
PASS_ON(VERSION, void *, memcpy, (void *to, const void *from, size_t size), (to, from, size));
PASS_ON(VERSION, int, dlclose, (void *library), (library));
PASS_ON(VERSION, int, __cxa_atexit, (void (*action)(void *), void *argument, void *library),
        (action, argument, library));
PASS_ON(VERSION, void, __cxa_finalize, (void *library), (library));
PASS_ON(VERSION, void, __stack_chk_fail, (void), ());
int no_handlers(void) { return 0; } /* of forks, which a Java machine does not do */
UNDER(VERSION, no_handlers, __register_atfork);
#endif
