// Command weft-discovery serves the catalogue: services, workloads and endpoints.
package main

import (
	"os"

	"github.com/weft-mesh/weft/services/app"
	"github.com/weft-mesh/weft/services/discovery"
)

func main() {
	os.Exit(app.Main(discovery.Build()))
}
