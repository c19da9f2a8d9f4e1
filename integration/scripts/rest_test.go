package scripts

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// rest METHOD PATH [BODYFILE]: calls the gateway's REST API with the administrator's token (or with $TOKEN when that is set)
// and writes status line, content type and body to the file "out".
func (r *rig) rest(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: rest METHOD PATH [BODYFILE]")
	}
	var body []byte
	if len(args) > 2 {
		body = []byte(ts.ReadFile(args[2]))
	}
	req, err := http.NewRequest(args[0], ts.Getenv("WEFT_REST")+args[1], bytes.NewReader(body))
	check(ts, err)
	token := ts.Getenv("TOKEN")
	if token == "" {
		data, err := os.ReadFile(ts.Getenv("WEFT_TOKEN_FILE"))
		check(ts, err)
		token = strings.TrimSpace(string(data))
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	check(ts, err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	check(ts, err)
	out := fmt.Sprintf("%s\n%s\n%s\n", resp.Status, resp.Header.Get("Content-Type"), data)
	ts.Logf("%s", out)
	check(ts, os.WriteFile(ts.MkAbs("out"), []byte(out), 0o600))
}
