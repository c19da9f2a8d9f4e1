package jointoken

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// prefix names the format; another format gets another one.
const prefix = "weft1."

// maxLength bounds what Decode reads; a token of five replicas and five roots is under 2 KiB.
const maxLength = 64 << 10

// maxUnix is the last second of the year 9999, the last that RFC 3339 and certificates can name.
const maxUnix = 253402300799

type wire struct {
	TD        string    `json:"td"`
	Roots     []string  `json:"roots"`
	Addresses Addresses `json:"addresses"`
	ID        string    `json:"id"`
	Secret    string    `json:"secret"`
	Exp       int64     `json:"exp"`
}

// Encode writes the text of a token, or says what is wrong with it.
func Encode(t Token) (string, error) {
	w := wire{TD: t.TrustDomain, Roots: []string{}, Addresses: t.Addresses.filled(), ID: t.ID, Secret: t.Secret, Exp: t.Expires.Unix()}
	for _, root := range t.Roots {
		w.Roots = append(w.Roots, root.String())
	}
	if err := w.validate(); err != nil {
		return "", fmt.Errorf("encode join token: %w", err)
	}
	text, err := w.text()
	if err != nil {
		return "", fmt.Errorf("encode join token: %w", err)
	}
	return text, nil
}

// Decode reads the text of a token. White space around it is ignored, because tokens travel through files and terminals.
func Decode(text string) (Token, error) {
	t, err := decode(strings.TrimSpace(text))
	if err != nil {
		return Token{}, fmt.Errorf("join token is not valid: %w", err)
	}
	return t, nil
}

func decode(text string) (Token, error) {
	switch {
	case text == "":
		return Token{}, errors.New("it is empty")
	case len(text) > maxLength:
		return Token{}, fmt.Errorf("it is %d bytes long, at most %d are allowed", len(text), maxLength)
	}
	body, ok := strings.CutPrefix(text, prefix)
	if !ok {
		return Token{}, fmt.Errorf("it does not begin with %q; it was cut, is of another version of Weft, or is not a join token", prefix)
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(body)
	if err != nil {
		return Token{}, fmt.Errorf("what follows %q is not base64url; it was cut or changed: %w", prefix, err)
	}
	var w wire
	if err := strict(raw, &w); err != nil {
		return Token{}, err
	}
	if err := w.validate(); err != nil {
		return Token{}, err
	}
	if again, err := w.text(); err != nil || again != text {
		return Token{}, errors.New("its fields are not written the way that Weft writes them")
	}
	return w.token()
}

// strict reads exactly one JSON object of known fields. Errors of encoding/json about values are kept out: they may quote one.
func strict(raw []byte, w *wire) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(w); err != nil {
		var kind *json.UnmarshalTypeError
		if errors.As(err, &kind) && kind.Field != "" {
			return fmt.Errorf("field %q is of the wrong kind", kind.Field)
		}
		return errors.New("its content is not the JSON of a join token; it was cut, changed, or is of a newer version of Weft")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows its content")
	}
	return nil
}

func (w wire) text() (string, error) {
	raw, err := json.Marshal(w)
	if err != nil {
		return "", fmt.Errorf("write JSON: %w", err)
	}
	return prefix + base64.RawURLEncoding.EncodeToString(raw), nil
}

func (w wire) token() (Token, error) {
	t := Token{TrustDomain: w.TD, Addresses: w.Addresses, ID: w.ID, Secret: w.Secret, Expires: time.Unix(w.Exp, 0).UTC()}
	for i, text := range w.Roots {
		var f Fingerprint
		if _, err := hex.Decode(f[:], []byte(text)); err != nil {
			return Token{}, fmt.Errorf("roots[%d]: %w", i, err)
		}
		t.Roots = append(t.Roots, f)
	}
	return t, nil
}

func (w wire) validate() error {
	td, err := spiffeid.TrustDomainFromString(w.TD)
	switch {
	case err != nil:
		return fmt.Errorf("td: %w", err)
	case td.Name() != w.TD:
		return fmt.Errorf("td: %q is not the bare name of a trust domain", w.TD)
	case len(w.Roots) == 0:
		return errors.New("roots: at least one hash of an authority is needed, else its holder would have to trust anybody")
	case w.ID == "":
		return errors.New("id: it is empty")
	case w.Secret == "":
		return errors.New("secret: it is empty")
	case w.Exp <= 0 || w.Exp > maxUnix:
		return fmt.Errorf("exp: %d is not a time between 1970 and 9999", w.Exp)
	}
	for i, text := range w.Roots {
		if raw, err := hex.DecodeString(text); err != nil || len(raw) != len(Fingerprint{}) || strings.ToLower(text) != text {
			return fmt.Errorf("roots[%d]: not the lower-case hex of a SHA-256", i)
		}
	}
	return w.Addresses.validate()
}

func (a Addresses) validate() error {
	if len(a.Identity) == 0 {
		return errors.New("addresses.identity: at least one address is needed")
	}
	for _, list := range []struct {
		name  string
		addrs []string
	}{{"identity", a.Identity}, {"discovery", a.Discovery}, {"distributor", a.Distributor}, {"telemetry", a.Telemetry}} {
		for i, addr := range list.addrs {
			if err := hostPort(addr); err != nil {
				return fmt.Errorf("addresses.%s[%d]: %w", list.name, i, err)
			}
		}
	}
	return nil
}

func hostPort(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%q is not host:port", addr)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || host == "" {
		return fmt.Errorf("%q is not host:port with a port from 1 to 65535", addr)
	}
	return nil
}

// filled writes absent lists as [] and not as null, so that there is one way to write a token.
func (a Addresses) filled() Addresses {
	for _, list := range []*[]string{&a.Identity, &a.Discovery, &a.Distributor, &a.Telemetry} {
		if *list == nil {
			*list = []string{}
		}
	}
	return a
}
