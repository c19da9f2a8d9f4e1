package identity

import "strings"

// BackupLeavesOut says whether a key of this service must not come back by a restore: a join token works once, and a backup
// from before it was redeemed would make it work twice.
func BackupLeavesOut(key string) bool { return strings.HasPrefix(key, collectionJoinTokens) }
