package listing

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"sort"
	"strings"

	"github.com/weft-mesh/weft/services/internal/fault"
)

// Sizes of pages.
const (
	DefaultSize = 500
	MaxSize     = 5000
)

// Page says which part of a list is wanted.
type Page struct {
	// Size is how many at most; 0: DefaultSize, at most MaxSize.
	Size int32
	// Token from the page before.
	Token string
	// Query is everything that makes this list another one than others: what is listed, where, and by which filter. A token
	// goes on with the same query only.
	Query []string
	// Epoch of the store that is listed. It is asked for only when there is more than one page.
	Epoch func(context.Context) (string, error)
}

// token is what a page token says. It names the last object that was given, not a position: objects that come and go between
// two pages neither repeat others nor hide them.
type token struct {
	After string `json:"a"`
	Query string `json:"q"`
	Epoch string `json:"e"`
}

// Cut returns the page of those that pass, and the token of the next page; it is empty on the last one. All must be in order
// of their keys.
func Cut[T any](ctx context.Context, all []T, key func(T) string, pass func(T) (bool, error), p Page) (page []T, next string, err error) {
	if p.Size < 0 {
		return nil, "", badPage("pageSize", "must not be negative")
	}
	size := min(int(p.Size), MaxSize)
	if size == 0 {
		size = DefaultSize
	}
	start := 0
	if p.Token != "" {
		after, err := p.read(ctx)
		if err != nil {
			return nil, "", err
		}
		start = sort.Search(len(all), func(i int) bool { return key(all[i]) > after })
	}
	for _, one := range all[start:] {
		ok, err := pass(one)
		if err != nil {
			return nil, "", err
		}
		if !ok {
			continue
		}
		if len(page) == size {
			next, err = p.write(ctx, key(page[size-1]))
			return page, next, err
		}
		page = append(page, one)
	}
	return page, "", nil
}

func (p Page) read(ctx context.Context) (after string, err error) {
	raw, err := base64.RawURLEncoding.DecodeString(p.Token)
	var t token
	if err != nil || json.Unmarshal(raw, &t) != nil || t.Query == "" {
		return "", badPage("pageToken", "is not a token of an earlier answer")
	}
	if t.Query != p.hash() {
		return "", badPage("pageToken", "is of another list: a page token goes on with the same namespace and filter only")
	}
	epoch, err := p.Epoch(ctx)
	if err != nil {
		return "", fault.Wrap(fault.Unavailable, err, "read the epoch of the store")
	}
	if t.Epoch != epoch {
		return "", badPage("pageToken", "is stale: the store has been made anew or restored since; begin again without it")
	}
	return t.After, nil
}

func (p Page) write(ctx context.Context, after string) (string, error) {
	epoch, err := p.Epoch(ctx)
	if err != nil {
		return "", fault.Wrap(fault.Unavailable, err, "read the epoch of the store")
	}
	raw, err := json.Marshal(token{After: after, Query: p.hash(), Epoch: epoch})
	return base64.RawURLEncoding.EncodeToString(raw), err
}

func (p Page) hash() string {
	sum := sha256.Sum256([]byte(strings.Join(p.Query, "\x00")))
	return hex.EncodeToString(sum[:8])
}

func badPage(field, problem string) error {
	return fault.InvalidFields("request", []fault.Field{{Path: field, Problem: problem}})
}
