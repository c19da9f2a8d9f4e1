// Package cli is the command `weft`: everything that a person does with the mesh. It is a client of the admin API and has no
// ability that the API lacks; only `up` (which runs the control plane in this process) and `run` (which starts a program
// beside a sidecar) do something of their own. Output is for people by default, JSON or YAML with -o; exit codes are those
// in exit.go.
package cli
