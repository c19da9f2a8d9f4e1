package rpctext

import (
	"regexp"
	"strconv"
	"strings"
)

// Plain returns the text without gRPC's own words.
func Plain(text string) string {
	if !strings.Contains(text, "desc = ") && !strings.Contains(text, "transport: ") {
		return text
	}
	text = regexp.MustCompile(`rpc error: code = \w+ desc = `).ReplaceAllLiteralString(text, "")
	quoted := regexp.MustCompile(`(?:(?:latest|last) (?:balancer|connection) error: )?connection error: desc = ("(?:[^"\\]|\\.)*")`)
	text = quoted.ReplaceAllStringFunc(text, func(found string) string {
		inner, err := strconv.Unquote(quoted.FindStringSubmatch(found)[1])
		if err != nil {
			return found
		}
		return inner
	})
	return strings.NewReplacer("transport: Error while dialing: ", "", "transport: ", "").Replace(text)
}
