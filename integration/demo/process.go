package main

import (
	"io"
	"os"
	"path/filepath"

	"github.com/weft-mesh/weft/integration/harness"
)

// start runs a command with its output in a log file; standard output goes to out instead when that is set.
func (d *demo) start(name string, out io.Writer, args ...string) (*harness.Process, error) {
	p, err := harness.Command{
		Name: name, Log: filepath.Join(d.dir, name+".log"), Stdout: out, Env: append(os.Environ(), d.env()...), Args: args,
	}.Start()
	if err == nil {
		d.processes = append(d.processes, p)
	}
	return p, err
}
