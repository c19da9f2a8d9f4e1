// Command weft-distributor compiles configuration and streams it to sidecars.
package main

import (
	"os"

	"github.com/weft-mesh/weft/services/app"
	"github.com/weft-mesh/weft/services/distributor"
)

func main() {
	os.Exit(app.Main(distributor.Build()))
}
