package hosts

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"

	"github.com/weft-mesh/weft/integration/hosts/lab"
)

// load is a program that calls reviews at a fixed rate and says every quarter of a second what it has seen.
type load struct {
	r    *rig
	host *lab.Host
	name string
}

// tally is what a load has seen since it started.
type tally struct {
	Sent     int            `json:"sent"`
	OK       int            `json:"ok"`
	Failures map[string]int `json:"failures"`
	Versions map[string]int `json:"versions"`
}

func (r *rig) load(h *lab.Host, name string) *load {
	r.Helper()
	r.run(h, lab.Workload{Name: name, Account: "load", Upstreams: []string{"reviews"}},
		"weft-shop", "load", "--target", h.Address("reviews", 9080), "--path", "/reviews/", "--rate", "40")
	return &load{r: r, host: h, name: name}
}

// now is the newest line.
func (l *load) now() (tally, error) {
	data, err := os.ReadFile(l.host.Log(l.name))
	if err != nil {
		return tally{}, err
	}
	lines := bytes.Split(data[:bytes.LastIndexByte(data, '\n')+1], []byte("\n"))
	for i := len(lines) - 1; i >= 0; i-- {
		var t tally
		if bytes.HasPrefix(lines[i], []byte(`{"sent"`)) && json.Unmarshal(lines[i], &t) == nil {
			return t, nil
		}
	}
	return tally{}, fmt.Errorf("%s has said nothing yet", l.name)
}

// flows waits until a good number of requests have succeeded one after the other, answered by the wanted versions and no
// other. What fails before that, while a failure is being noticed, is not counted.
func (l *load) flows(versions ...string) {
	l.r.Helper()
	const enough = 60
	var from tally
	l.r.eventually(fmt.Sprintf("requests of %s are answered by %v", l.name, versions), func() error {
		now, err := l.now()
		if err != nil {
			return err
		}
		seen := map[string]int{}
		others := 0
		for v, n := range now.Versions {
			seen[v] = n - from.Versions[v]
			others += seen[v]
		}
		for _, v := range versions {
			others -= seen[v]
			if from.Sent > 0 && now.OK-from.OK >= enough && seen[v] == 0 {
				others++ // it should have been seen by now
			}
		}
		if from.Sent == 0 || failures(now) != failures(from) || others > 0 {
			before := from
			from = now
			return fmt.Errorf("since %+v it saw %+v", before, now)
		}
		if now.OK-from.OK < enough {
			return fmt.Errorf("%d requests of %d so far", now.OK-from.OK, enough)
		}
		return nil
	})
}

func failures(t tally) int {
	n := 0
	for _, f := range t.Failures {
		n += f
	}
	return n
}
