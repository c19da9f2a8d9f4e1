// Package scripts drives the real binaries by scripts, as a person would: each testdata/*.txtar runs twice, against a control
// plane in one process and against one process for each service with an etcd of their own. Its test needs WEFT_BIN (the
// folder of the built binaries) and, for real programs as workloads, WEFT_DEBIAN, and in other languages, WEFT_CLIENTS; `make
// scripts` sets all of them.
package scripts
