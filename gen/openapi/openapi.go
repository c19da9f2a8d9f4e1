// Package openapi holds the generated OpenAPI document of the REST API. This file is the one exception in gen to "generated
// code only": an embed directive reaches no file outside its own folder, and a copy elsewhere could differ.
package openapi

import _ "embed"

//go:embed weft.swagger.json
var document []byte

// Document is the OpenAPI 2.0 document as generated.
func Document() []byte { return document }
