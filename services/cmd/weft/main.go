// Command weft is what people use of the mesh: it starts control planes and programs, applies policy and shows what happens.
package main

import (
	"context"
	"os"

	"github.com/weft-mesh/weft/services/cli"
)

func main() {
	os.Exit(cli.Main(context.Background(), os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}
