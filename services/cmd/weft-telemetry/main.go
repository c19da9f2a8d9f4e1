// Command weft-telemetry collects what sidecars have seen and answers questions about it.
package main

import (
	"os"

	"github.com/weft-mesh/weft/services/app"
	"github.com/weft-mesh/weft/services/telemetry"
)

func main() {
	os.Exit(app.Main(telemetry.Build()))
}
