// Package harness starts real meshes for tests: the built binaries, all in one process with its embedded etcd, or one process
// for each replica of each service against an etcd of their own. It owns every process that it starts and ends them by pid.
package harness
