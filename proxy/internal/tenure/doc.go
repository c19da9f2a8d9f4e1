// Package tenure is the time during which a process is the sidecar of its workload. It begins when the process starts, or when
// another one hands its place over, and ends when it hands its place over itself; the process may live on for what it has
// begun. Parts that only one process may run at a time (the registration, the admin port, the file of names) run during the
// tenure; those that the next process has to find at rest can be paused.
//
// It starts no goroutine of its own accord, and knows nothing of how a place is handed over.
package tenure
