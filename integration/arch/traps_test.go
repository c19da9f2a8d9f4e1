package arch_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	anyTest  = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	nextFunc = regexp.MustCompile(`(?m)^}\n`)
)

// testBodies finds the text of every test and fuzz target below the folders; several of one name are joined.
func testBodies(t *testing.T, folders ...string) map[string]string {
	t.Helper()
	bodies := map[string]string{}
	for _, folder := range folders {
		err := filepath.WalkDir(filepath.Join("..", "..", folder), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, "_test.go") {
				return err
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, m := range anyTest.FindAllStringSubmatchIndex(string(data), -1) {
				body := string(data[m[1]:])
				if end := nextFunc.FindStringIndex(body); end != nil {
					body = body[:end[0]]
				}
				bodies[string(data[m[2]:m[3]])] += body
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return bodies
}

// docs/walks/http-traps.md names tests, and cases of their tables, that there are.
func TestTrapsAreTested(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "walks", "http-traps.md"))
	if err != nil {
		t.Fatal(err)
	}
	bodies := testBodies(t, "proxy", "internal")
	named := 0
	for _, m := range quoted.FindAllStringSubmatch(string(text), -1) {
		name, tableCase, isCase := strings.Cut(m[1], "/")
		if !strings.HasPrefix(name, "Test") && !strings.HasPrefix(name, "Fuzz") || m[1] == "Test/case" {
			continue
		}
		named++
		body, ok := bodies[name]
		if !ok {
			t.Errorf("docs/walks/http-traps.md: there is no test %s", name)
		} else if isCase && !strings.Contains(body, `"`+tableCase+`"`) {
			t.Errorf("docs/walks/http-traps.md: %s has no case %q", name, tableCase)
		}
	}
	if named < 100 {
		t.Errorf("docs/walks/http-traps.md names only %d tests", named)
	}
}
