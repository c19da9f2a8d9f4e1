package arch_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A test proves rows when its name begins with them: TestD4_…, TestC9_C16_…, C1_D4_….txtar.
var (
	rowsOfName = regexp.MustCompile(`^(?:Test)?((?:(?:ID|[A-Z])\d+_)+)`)
	testFunc   = regexp.MustCompile(`(?m)^func (Test(?:ID|[CIDLETRO])\d+_\w+)\(`)
	tableRow   = regexp.MustCompile(`^\| (ID\d+|[A-Z]\d+) \|`)
	quoted     = regexp.MustCompile("`([^`]+)`")
)

// proofs finds every test that carries the name of a row.
func proofs(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	add := func(name string) {
		m := rowsOfName.FindStringSubmatch(name)
		if m == nil {
			return
		}
		for row := range strings.SplitSeq(strings.TrimSuffix(m[1], "_"), "_") {
			found[row] = append(found[row], name)
		}
	}
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "node_modules"):
			return filepath.SkipDir
		case strings.HasSuffix(path, ".txtar") && strings.Contains(path, "scripts"):
			add(d.Name())
		case strings.HasSuffix(path, "_test.go"):
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, m := range testFunc.FindAllStringSubmatch(string(data), -1) {
				add(m[1])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// docs/requirements.md lists exactly the tests that there are.
func TestRequirementsListIsTrue(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "..", "docs", "requirements.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := proofs(t)
	listed := map[string]bool{}
	for line := range strings.Lines(string(data)) {
		m := tableRow.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		row := m[1]
		listed[row] = true
		var names []string
		for _, q := range quoted.FindAllStringSubmatch(line, -1) {
			names = append(names, q[1])
		}
		for _, name := range names {
			if !slices.Contains(found[row], name) {
				t.Errorf("row %s lists %s, which does not exist or does not carry the row's name", row, name)
			}
		}
		for _, name := range found[row] {
			if !slices.Contains(names, name) {
				t.Errorf("row %s does not list %s", row, name)
			}
		}
	}
	for row, names := range found {
		if !listed[row] {
			t.Errorf("%v prove row %s, which docs/requirements.md does not list", names, row)
		}
	}
}
