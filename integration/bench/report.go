package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/weft-mesh/weft/integration/bench/machine"
)

// report is everything that was measured, for people and as JSON.
type report struct {
	Facts facts  `json:"facts"`
	Lines []line `json:"lines"`
}

// facts say where the numbers are from.
type facts struct {
	Sidecars int `json:"sidecars"`
	machine.Facts
}

// line is one row of the table.
type line struct {
	Section string             `json:"section"`
	Name    string             `json:"name"`
	Text    string             `json:"text"`
	Numbers map[string]float64 `json:"numbers,omitempty"`
}

func newReport(o options) *report {
	return &report{Facts: facts{Sidecars: o.sidecars, Facts: machine.Look()}}
}

// add adds a row and prints it: a long run shows where it is.
func (r *report) add(section, name string, numbers map[string]float64, format string, args ...any) {
	l := line{Section: section, Name: name, Text: fmt.Sprintf(format, args...), Numbers: numbers}
	if n := len(r.Lines); n == 0 || r.Lines[n-1].Section != section {
		fmt.Printf("\n%s\n", section)
	}
	r.Lines = append(r.Lines, l)
	fmt.Println(l.String())
}

func (l line) String() string { return fmt.Sprintf("  %-34s %s", l.Name, l.Text) }

// text is the whole table.
func (r *report) text() string {
	var b strings.Builder
	f := r.Facts
	fmt.Fprintf(&b, "%d sidecars, %s, commit %s\n%d cores (%s), Linux %s, %s, load before: %s, took %.0f s\n",
		f.Sidecars, f.Date.Format(time.RFC3339), f.Commit, f.Cores, f.CPU, f.Kernel, f.Go, f.LoadBefore, f.Seconds)
	section := ""
	for _, l := range r.Lines {
		if l.Section != section {
			section = l.Section
			fmt.Fprintf(&b, "\n%s\n", section)
		}
		fmt.Fprintln(&b, l.String())
	}
	return b.String()
}

// finish writes the results, unless there is no folder for them.
func (r *report) finish(folder string) error {
	r.Facts.Seconds = time.Since(r.Facts.Date).Seconds()
	fmt.Printf("\ntook %.0f s\n", r.Facts.Seconds)
	if folder == "" {
		return nil
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	name := filepath.Join(folder, fmt.Sprintf("%s-sim%d", r.Facts.Date.Format("20060102-150405"), r.Facts.Sidecars))
	raw, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return fmt.Errorf("encode results: %w", err)
	}
	if err := os.WriteFile(name+".json", append(raw, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(name+".txt", []byte(r.text()), 0o644)
}
