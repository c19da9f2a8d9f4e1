// Command weft-distributor compiles configuration and streams it to sidecars.
package main

import (
	"os"
	"runtime/debug"

	"github.com/weft-mesh/weft/services/app"
	"github.com/weft-mesh/weft/services/distributor"
)

func main() {
	// Most of the heap is what ten thousand resting streams hold, and little of it dies: to let it grow by half before the next
	// collection instead of doubling it costs little CPU and saves a fifth of the memory. GOGC still decides when it is set.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
	os.Exit(app.Main(distributor.Build()))
}
