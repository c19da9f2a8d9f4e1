package match

import "testing"

func TestCleanPath(t *testing.T) {
	tests := []struct {
		name, target, want string
		bad                bool
	}{
		{name: "root", target: "/", want: "/"},
		{name: "plain", target: "/a/b.html", want: "/a/b.html"},
		{name: "query is dropped", target: "/a?b=/../c", want: "/a"},
		{name: "query is no path", target: "/a?%zz", want: "/a"},
		{name: "options", target: "*", want: "*"},
		{name: "trailing slash stays", target: "/a/b/", want: "/a/b/"},
		{name: "slashes merge", target: "//a///b//", want: "/a/b/"},
		{name: "dot", target: "/a/./b/.", want: "/a/b/"},
		{name: "dot dot", target: "/a/b/../c", want: "/a/c"},
		{name: "dot dot at the end", target: "/a/b/..", want: "/a/"},
		{name: "dot dot after merged slashes", target: "/public//../admin", want: "/admin"},
		{name: "hidden file is no dot segment", target: "/.well-known/x", want: "/.well-known/x"},
		{name: "three dots", target: "/.../x", want: "/.../x"},
		{name: "escaped dot dot", target: "/a/%2e%2E/b", want: "/b"},
		{name: "escaped letter", target: "/%61dmin", want: "/admin"},
		{name: "escape in capitals", target: "/a%c3%a9", want: "/a%C3%A9"},
		{name: "escaped percent is decoded once", target: "/%252e%252e/a", want: "/%252e%252e/a"},
		{name: "escaped slash stays", target: "/projects/a%2fb", want: "/projects/a%2Fb"},
		{name: "parameters stay", target: "/a;v=1/b", want: "/a;v=1/b"},
		{name: "raw UTF-8", target: "/é", want: "/é"},
		{name: "empty", target: "", bad: true},
		{name: "no slash", target: "a", bad: true},
		{name: "above the root", target: "/..", bad: true},
		{name: "above the root, deeper", target: "/a/../../b", bad: true},
		{name: "broken escape", target: "/%2", bad: true},
		{name: "escape of no digit", target: "/%zz", bad: true},
		{name: "NUL", target: "/a%00", bad: true},
		{name: "backslash", target: `/a\..\b`, bad: true},
		{name: "escaped backslash", target: "/a%5c..%5Cb", bad: true},
		{name: "fragment", target: "/a#b", bad: true},
		{name: "dot dot beside an escaped slash", target: "/public/..%2fadmin", bad: true},
		{name: "dot dot behind an escaped slash", target: "/public%2f../admin", bad: true},
		{name: "dot between escaped slashes", target: "/a%2F.%2Fb", bad: true},
		{name: "dot dot with parameters", target: "/public/..;/admin", bad: true},
		{name: "dot dot with escaped parameters", target: "/public/..%3bx/admin", bad: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := CleanPath(nil, []byte(tt.target))
			if ok == tt.bad || string(got) != tt.want {
				t.Errorf("CleanPath(%q) = %q, %v; want %q, %v", tt.target, got, ok, tt.want, !tt.bad)
			}
		})
	}
}

func TestCleanPathDoesNotAllocate(t *testing.T) {
	clean, dirty, scratch := []byte("/a/b?c"), []byte("/a//b/%2e%2e/c"), make([]byte, 0, 64)
	if n := testing.AllocsPerRun(100, func() {
		CleanPath(scratch, clean)
		CleanPath(scratch, dirty)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzCleanPath checks what every caller relies on: a clean path is its own clean form and has no dot segments.
func FuzzCleanPath(f *testing.F) {
	for _, seed := range []string{"/", "/a/../b", "/a%2f..", "//x//", "/%2e/%2E%2e/", "*", "/..;a/b", "/a;b/c?d"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, target []byte) {
		got, ok := CleanPath(nil, target)
		if !ok {
			return
		}
		again, ok := CleanPath(nil, got)
		if !ok || string(again) != string(got) {
			t.Fatalf("CleanPath(%q) = %q, of which CleanPath makes %q, %v", target, got, again, ok)
		}
		if (PathPrefix("/x").Match(got)) && string(got) != "/x" && got[2] != '/' {
			t.Fatalf("%q is not below /x", got)
		}
	})
}
