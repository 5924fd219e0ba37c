package eventlog

import "github.com/evosink/evosink/adapters/sqlite/internal/file"

// blockSize is how many positions a block has. The table log_blocks tells which blocks have had entries of a shard, so
// that who reads one shard passes over all others. In a block it looks at the entries of other shards too. An index of
// the log by shard would spare that, but it is a page more in each commit for each of the commit's shards, and events
// are read from the file after a start only, or by who is behind; a row of this table is written once in 256 entries.
const blockSize = 256

// inShard selects the entries of shard ?1 behind position ?2. It goes before other conditions and byPosition.
const (
	inShard = ` FROM log_blocks CROSS JOIN log
		ON position BETWEEN max(block * 256, ?2 + 1) AND block * 256 + 255 AND log.shard = log_blocks.shard
		WHERE log_blocks.shard = ?1 AND block >= (?2 + 1) / 256`
	byPosition = " ORDER BY block, position"
)

// enter notes that the block of a position has entries of a shard, unless that is the block noted last. It returns the
// block.
func enter(t *file.Tx, shard int, position, noted int64) (block int64, err error) {
	if block = position / blockSize; block == noted {
		return block, nil
	}
	_, err = t.Exec("INSERT INTO log_blocks (shard, block) VALUES (?, ?) ON CONFLICT DO NOTHING", shard, block)
	return block, err
}

// leave forgets the blocks before that of the oldest entry.
func (l *Log) leave(t *file.Tx, oldest int64) error {
	shards := make([]int64, l.options.Shards)
	for i := range shards {
		shards[i] = int64(i)
	}
	_, err := t.Exec("DELETE FROM log_blocks WHERE shard IN (SELECT value FROM json_each(?)) AND block < ?",
		file.List(shards), oldest/blockSize)
	return err
}
