// Command weft-policy serves the policy API.
package main

import (
	"os"

	"github.com/weft-mesh/weft/services/app"
	"github.com/weft-mesh/weft/services/policy"
)

func main() {
	os.Exit(app.Main(policy.Build()))
}
