// Command weft-gateway is the door of the control plane for people and programs.
package main

import (
	"os"

	"github.com/weft-mesh/weft/services/app"
	"github.com/weft-mesh/weft/services/gateway"
)

func main() {
	os.Exit(app.Main(gateway.Build()))
}
