package match_test

import (
	"bytes"
	"testing"

	"github.com/weft-mesh/weft/internal/match"
)

func TestCleanPath(t *testing.T) {
	for _, tc := range []struct {
		target, want string
		ok           bool
	}{
		{"/", "/", true},
		{"/a/b?x=/../y", "/a/b", true},
		{"*", "*", true},
		{"/a//b///c", "/a/b/c", true},
		{"/a/./b/", "/a/b/", true},
		{"/a/b/..", "/a/", true},
		{"/a/b/../c", "/a/c", true},
		{"/a/.", "/a/", true},
		{"/.hidden/..x", "/.hidden/..x", true},
		{"/%61dmin", "/admin", true},
		{"/a/%2e%2E/admin", "/admin", true},
		{"/caf%c3%a9", "/caf%C3%A9", true},
		{"/a%2fb", "/a%2Fb", true},
		{"/a;v=1/b", "/a;v=1/b", true},
		{"//", "/", true},
		{"", "", false},
		{"a/b", "", false},
		{"/..", "", false},
		{"/a/../../b", "", false},
		{"/public/..%2fadmin", "", false},
		{"/public/..;/admin", "", false},
		{`/public/..\admin`, "", false},
		{"/public/x%2f..", "", false},
		{"/public/%2e%2e%5cadmin", "", false},
		{"/a%", "", false},
		{"/a%2", "", false},
		{"/a%zz", "", false},
		{"/a%00", "", false},
		{"/a b", "", false},
	} {
		got, ok := match.CleanPath(nil, []byte(tc.target))
		if ok != tc.ok || ok && string(got) != tc.want {
			t.Errorf("CleanPath(%q) = %q, %v; want %q, %v", tc.target, got, ok, tc.want, tc.ok)
		}
	}
}

func FuzzCleanPath(f *testing.F) {
	for _, seed := range []string{"/", "/a/../b", "/%2e%2e/x", "/a%2f..", "/a;/..", "/x//y/./z/"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, target []byte) {
		once, ok := match.CleanPath(nil, target)
		if !ok || string(once) == "*" {
			return
		}
		if once[0] != '/' || bytes.Contains(once, []byte("//")) || bytes.Contains(append(once[:len(once):len(once)], '/'), []byte("/../")) {
			t.Fatalf("CleanPath(%q) = %q is not clean", target, once)
		}
		twice, ok := match.CleanPath(nil, once)
		if !ok || !bytes.Equal(once, twice) {
			t.Fatalf("CleanPath(%q) = %q, again = %q, %v", target, once, twice, ok)
		}
	})
}
