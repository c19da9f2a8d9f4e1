package jointoken

import (
	"errors"
	"fmt"
	"strings"
)

// hostPrefix makes a host's token: the same content, redeemed for something else.
const hostPrefix = "host-"

// EncodeHost writes the text of a token by which a host joins, not a workload.
func EncodeHost(t Token) (string, error) {
	text, err := Encode(t)
	if err != nil {
		return "", err
	}
	return hostPrefix + text, nil
}

// DecodeHost reads what EncodeHost wrote, and says so when it is given the token of a workload.
func DecodeHost(text string) (Token, error) {
	body, ok := strings.CutPrefix(strings.TrimSpace(text), hostPrefix)
	if !ok {
		if _, err := Decode(text); err == nil {
			return Token{}, errors.New("host token is not valid: it is the join token of one workload; `weft token host` makes one for a host")
		}
		return Token{}, fmt.Errorf("host token is not valid: it does not begin with %q; `weft token host` makes one", hostPrefix+prefix)
	}
	t, err := Decode(body)
	if err != nil {
		return Token{}, fmt.Errorf("host token: %w", err)
	}
	return t, nil
}
