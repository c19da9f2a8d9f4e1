module github.com/weft-mesh/weft/integration

go 1.26.0

replace github.com/weft-mesh/weft/gen => ../gen

replace github.com/weft-mesh/weft/internal => ../internal

replace github.com/weft-mesh/weft/services => ../services

replace github.com/weft-mesh/weft/proxy => ../proxy
