package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"
)

// print writes an answer: as text by the given function, or as JSON or YAML when -o asks for it.
func (o *options) print(msg proto.Message, text func(w io.Writer)) error {
	switch o.output {
	case "":
		text(o.streams.Out)
		return nil
	case "json", "yaml":
		data, err := protojson.MarshalOptions{EmitUnpopulated: false}.Marshal(msg)
		if err != nil {
			return fmt.Errorf("print answer: %w", err)
		}
		return o.printJSON(data)
	default:
		return usageError{fmt.Errorf("--output %q: allowed are json and yaml", o.output)}
	}
}

// printJSON writes JSON, indented the same way every time, or as YAML.
func (o *options) printJSON(data []byte) error {
	var value any
	if err := json.Unmarshal(data, &value); err != nil {
		return fmt.Errorf("print answer: %w", err)
	}
	var err error
	if o.output == "yaml" {
		data, err = yaml.Marshal(value)
	} else {
		data, err = json.MarshalIndent(value, "", "  ")
		data = append(data, '\n')
	}
	if err != nil {
		return fmt.Errorf("print answer: %w", err)
	}
	_, err = o.streams.Out.Write(data)
	return err
}

// table writes rows in columns, the first row being the heading. Every row gets all cells, because a missing one would end the
// columns of the rows around it; the blanks that this leaves at the end of lines go.
func table(w io.Writer, rows [][]string) {
	columns := 0
	for _, row := range rows {
		columns = max(columns, len(row))
	}
	var b bytes.Buffer
	tw := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprint(tw, strings.Join(row, "\t"), strings.Repeat("\t", columns-len(row)), "\n")
	}
	tw.Flush()
	for line := range strings.Lines(b.String()) {
		fmt.Fprintln(w, strings.TrimRight(line, " \n"))
	}
}

// short is a duration with three digits at most: 1.53ms, 240µs, 2.1s.
func short(d time.Duration) string {
	switch {
	case d <= 0:
		return "-"
	case d < time.Millisecond:
		return fmt.Sprintf("%dµs", d.Microseconds())
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1fms", float64(d)/float64(time.Millisecond))
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", d.Seconds())
	default:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
