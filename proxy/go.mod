module github.com/weft-mesh/weft/proxy

go 1.26.0

require github.com/spiffe/go-spiffe/v2 v2.9.0

replace github.com/weft-mesh/weft/gen => ../gen

replace github.com/weft-mesh/weft/internal => ../internal
