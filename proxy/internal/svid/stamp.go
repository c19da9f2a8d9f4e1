package svid

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/weft-mesh/weft/internal/spiffe/jointoken"
	"github.com/weft-mesh/weft/proxy/internal/statedir"
)

// Reasons for which stored files are refused.
var (
	ErrNothing = errors.New("nothing is stored")
	ErrForeign = errors.New("the stored identity belongs to another workload")
	ErrCorrupt = errors.New("the stored identity is damaged")
	ErrExpired = errors.New("the stored identity has expired")
)

// Stamp says whose state directory it is and how its control plane is reached. It is no secret.
type Stamp struct {
	TrustDomain string              `json:"trust_domain"`
	Namespace   string              `json:"namespace"`
	Workload    string              `json:"workload"`
	TokenID     string              `json:"token_id"` // of the join token that was redeemed
	Addresses   jointoken.Addresses `json:"addresses"`
	Saved       time.Time           `json:"saved"`
	// SPIFFEID that was issued; empty in files of earlier versions, as is Sum, which tells damage.
	SPIFFEID string `json:"spiffe_id,omitempty"`
	Sum      string `json:"sum,omitempty"`
}

// sum is the checksum of everything else.
func (s Stamp) sum() (string, error) {
	s.Sum = ""
	raw, err := json.Marshal(s)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:8]), nil
}

func readStamp(dir *statedir.Dir, namespace, workload string) (Stamp, error) {
	var stamp Stamp
	raw, err := dir.Read(statedir.Stamp)
	if errors.Is(err, os.ErrNotExist) {
		return stamp, ErrNothing
	}
	if err != nil {
		return stamp, err
	}
	if err := json.Unmarshal(raw, &stamp); err != nil {
		return stamp, fmt.Errorf("%w: %s: %w", ErrCorrupt, statedir.Stamp, err)
	}
	if sum, err := stamp.sum(); stamp.Sum != "" && sum != stamp.Sum {
		return stamp, errors.Join(fmt.Errorf("%w: %s: its checksum differs", ErrCorrupt, statedir.Stamp), err)
	}
	if stamp.Namespace != namespace || stamp.Workload != workload {
		return stamp, fmt.Errorf("%w: %s is of %s/%s, this sidecar is %s/%s", ErrForeign, statedir.Stamp, stamp.Namespace, stamp.Workload, namespace, workload)
	}
	return stamp, nil
}

func writeStamp(dir *statedir.Dir, stamp Stamp) (err error) {
	if stamp.Sum, err = stamp.sum(); err != nil {
		return fmt.Errorf("encode %s: %w", statedir.Stamp, err)
	}
	raw, err := json.MarshalIndent(stamp, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", statedir.Stamp, err)
	}
	return dir.Write(statedir.Stamp, append(raw, '\n'))
}
