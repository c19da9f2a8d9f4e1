package main

import (
	"embed"
	"io/fs"
)

//go:embed apps
var apps embed.FS

// otherLanguages holds the shop's programs that are not Go.
func otherLanguages() fs.FS {
	sub, err := fs.Sub(apps, "apps")
	if err != nil {
		panic(err) // the folder is embedded above
	}
	return sub
}
