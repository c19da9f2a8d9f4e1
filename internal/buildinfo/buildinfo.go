// Package buildinfo says which build of Weft this program is. It takes in nothing but what the linker and the Go tool left in
// the binary, and must never fail: a program without that says "devel".
package buildinfo

import (
	"runtime/debug"
)

// version is the one variable that the linker sets (-X …/internal/buildinfo.version=v1.2.3); that is why it is a global.
var version string

// Version is the version of this program: what the linker set, else the module's version, else the commit, else "devel".
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = nil
	}
	return describe(version, info)
}

func describe(set string, info *debug.BuildInfo) string {
	if set != "" {
		return set
	}
	if info == nil {
		return "devel"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	revision, dirty := "", ""
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			revision = s.Value[:min(len(s.Value), 12)]
		case "vcs.modified":
			if s.Value == "true" {
				dirty = "+dirty"
			}
		}
	}
	if revision == "" {
		return "devel"
	}
	return "devel-" + revision + dirty
}
