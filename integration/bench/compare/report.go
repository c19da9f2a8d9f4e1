package compare

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/weft-mesh/weft/integration/bench/machine"
)

// report is everything that was measured, number by number.
type report struct {
	Facts facts `json:"facts"`
	// Absent are contenders and measurements that could not be had, and why.
	Absent  map[string]string `json:"absent,omitempty"`
	Samples []sample          `json:"samples"`
	Values  []value           `json:"values"`
	// Calls are system calls for a request and hop, by scenario and contender.
	Calls map[string]map[string]map[string]float64 `json:"calls,omitempty"`
	// Verdicts follow from the samples.
	Verdicts []verdict `json:"verdicts"`
}

// facts say how it was measured.
type facts struct {
	machine.Facts
	Rounds     int               `json:"rounds"`
	For        string            `json:"for"`
	Warm       string            `json:"warm"`
	Congestion string            `json:"congestion"` // control of TCP
	Proxies    string            `json:"proxies"`    // their cores
	Others     string            `json:"others"`     // cores of everything else
	Tracer     string            `json:"tracer,omitempty"`
	Versions   map[string]string `json:"versions"`
}

func newReport(o Options) *report {
	return &report{
		Facts: facts{
			Facts: machine.Look(), Rounds: o.Rounds, For: o.For.String(), Warm: o.Warm.String(),
			Congestion: machine.File("/proc/sys/net/ipv4/tcp_congestion_control"),
		},
		Calls: map[string]map[string]map[string]float64{},
	}
}

// add notes a sample and prints it: a long run shows where it is.
func (r *report) add(s sample) {
	r.Samples = append(r.Samples, s)
	fmt.Printf("    %d  %-9s %9.1f µs (%.1f + %.1f) %9.0f/s   p50 %.0f  p90 %.0f  p99 %.0f µs\n",
		s.Round, s.Contender, s.Each, s.Outbound, s.Inbound, s.Done/s.Seconds, s.P50, s.P90, s.P99)
}

func (r *report) value(v value) {
	r.Values = append(r.Values, v)
	fmt.Printf("    %-9s %-55s %8.2f (RSS %.2f)\n", v.Contender, v.Name, v.Value, v.RSS)
}

func (r *report) calls(scenario, contender string, calls map[string]float64) {
	if r.Calls[scenario] == nil {
		r.Calls[scenario] = map[string]map[string]float64{}
	}
	r.Calls[scenario][contender] = calls
	switch scenario {
	case "h1-1k-16":
		r.value(value{Name: hopCalls, Contender: contender, Value: calls[allCalls]})
	case "rate-1000":
		r.value(value{Name: sleepCalls, Contender: contender, Value: calls["nanosleep"] + calls["clock_nanosleep"] + calls["futex"]})
	default:
		fmt.Printf("    %-9s %-55s %8.2f\n", contender, "system calls for a unit and hop, "+scenario, calls[allCalls])
	}
}

// finish prints the tables, and writes everything unless there is no folder for it, and the tables into a document, if there is one.
func (r *report) finish(folder, doc string) error {
	r.Facts.Seconds = time.Since(r.Facts.Date).Seconds()
	r.Verdicts = r.verdicts()
	text := r.markdown()
	fmt.Println("\n" + text)
	if doc != "" {
		if err := r.document(doc, text); err != nil {
			return err
		}
	}
	if folder == "" {
		return nil
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	raw, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return fmt.Errorf("encode results: %w", err)
	}
	name := filepath.Join(folder, r.Facts.Date.Format("20060102-150405")+"-compare")
	if err := os.WriteFile(name+".json", append(raw, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(name+".txt", []byte(text), 0o644)
}

// Where the tables go in a document: between lines that begin so.
const (
	tablesFrom = "<!-- tables: "
	tablesTo   = "<!-- end of tables "
)

// document puts the tables into a document, and the picture beside it.
func (r *report) document(doc, text string) error {
	if err := fill(doc, text); err != nil {
		return err
	}
	picture := r.plot()
	if picture == "" {
		return nil
	}
	return os.WriteFile(strings.TrimSuffix(doc, filepath.Ext(doc))+".svg", []byte(picture), 0o644)
}

// fill puts the tables into a document in place of those that are there.
func fill(doc, text string) error {
	data, err := os.ReadFile(doc)
	if err != nil {
		return err
	}
	from, to := bytes.Index(data, []byte(tablesFrom)), bytes.Index(data, []byte(tablesTo))
	if from < 0 || to < from {
		return fmt.Errorf("%s has no place for tables, between %q and %q", doc, tablesFrom, tablesTo)
	}
	from += bytes.IndexByte(data[from:], '\n') + 1
	return os.WriteFile(doc, slices.Concat(data[:from], []byte("\n"+text+"\n"), data[to:]), 0o644)
}
