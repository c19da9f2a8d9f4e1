// Command weft-identity issues identities and hands out the trust bundle.
package main

import (
	"os"

	"github.com/weft-mesh/weft/services/app"
	"github.com/weft-mesh/weft/services/identity"
)

func main() {
	os.Exit(app.Main(identity.Build()))
}
