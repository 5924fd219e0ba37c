-- A file of schema version 3 with some rows in each table: the scripts of migrations 1 to 3, then what that version wrote.
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA application_id = 1702260595;

CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;

-- The log. Positions have no gaps: one writer gives them out, and entries go from the oldest end only.
CREATE TABLE log (
	position INTEGER PRIMARY KEY,
	shard    INTEGER NOT NULL,
	time     INTEGER NOT NULL, -- when it was stored, Unix milliseconds
	start    INTEGER NOT NULL, -- bytes of all entries ever stored before this one
	id       TEXT NOT NULL,
	instance TEXT NOT NULL,
	metadata BLOB NOT NULL,    -- see encodeMetadata
	payload  BLOB NOT NULL
) STRICT;
CREATE INDEX log_shard ON log (shard); -- and position, which every index of SQLite ends with
CREATE INDEX log_id ON log (id);

CREATE TABLE cursors (
	name     TEXT NOT NULL,    -- of the group
	shard    INTEGER NOT NULL,
	position INTEGER NOT NULL, -- of the last entry acked
	seen     INTEGER NOT NULL, -- when the group was last known to be in use, Unix milliseconds
	PRIMARY KEY (name, shard)
) STRICT, WITHOUT ROWID;

CREATE TABLE instances (
	name    TEXT PRIMARY KEY,
	version INTEGER NOT NULL,
	record  TEXT NOT NULL      -- JSON of instances.Instance
) STRICT, WITHOUT ROWID;

CREATE TABLE facts (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;

-- Events that wait in lanes of the delivery queue, or did so a moment ago; see queue.go.
CREATE TABLE queue_events (
	seq      INTEGER PRIMARY KEY, -- of its deliveries too
	instance TEXT NOT NULL,
	id       TEXT NOT NULL,
	name     TEXT NOT NULL,
	at       INTEGER NOT NULL,    -- when it was put, Unix milliseconds
	copy     INTEGER NOT NULL,    -- 1: not the one that further Puts are absorbed by
	lanes    BLOB NOT NULL,       -- where it was put, see laneList
	metadata BLOB NOT NULL,       -- see encodeMetadata
	payload  BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX queue_events_id ON queue_events (id, instance) WHERE copy = 0; -- ids that grow keep it compact

CREATE TABLE queue_lanes (
	id       INTEGER PRIMARY KEY,
	sink     TEXT NOT NULL,
	target   TEXT NOT NULL,
	instance TEXT NOT NULL,
	tried    INTEGER NOT NULL DEFAULT 0, -- seq of the delivery that the rest is about; times are Unix milliseconds, 0 for none
	attempts INTEGER NOT NULL DEFAULT 0,
	first    INTEGER NOT NULL DEFAULT 0,
	last     INTEGER NOT NULL DEFAULT 0,
	next     INTEGER NOT NULL DEFAULT 0,
	error    TEXT NOT NULL DEFAULT '',
	UNIQUE (sink, target, instance)
) STRICT;

-- In order of time and not of lanes, so that what belongs together in a commit is together on the disk.
CREATE TABLE queue_deliveries (
	seq       INTEGER NOT NULL,
	lane      INTEGER NOT NULL,
	scope     INTEGER NOT NULL,
	droppable INTEGER NOT NULL,
	PRIMARY KEY (seq, lane)
) STRICT, WITHOUT ROWID;

CREATE TABLE queue_letters (
	id       INTEGER PRIMARY KEY AUTOINCREMENT,
	sink     TEXT NOT NULL,
	target   TEXT NOT NULL,
	instance TEXT NOT NULL,
	scope    INTEGER NOT NULL,
	event    TEXT NOT NULL,
	name     TEXT NOT NULL,
	reason   TEXT NOT NULL,
	attempts INTEGER NOT NULL,
	first    INTEGER NOT NULL,
	last     INTEGER NOT NULL,
	error    TEXT NOT NULL,
	died     INTEGER NOT NULL,
	metadata BLOB NOT NULL,
	payload  BLOB NOT NULL
) STRICT;
CREATE INDEX queue_letters_lane ON queue_letters (instance, sink, target);
CREATE INDEX queue_letters_event ON queue_letters (event);

CREATE TABLE queue_attempts (
	id       INTEGER PRIMARY KEY AUTOINCREMENT,
	event    TEXT NOT NULL,
	sink     TEXT NOT NULL,
	target   TEXT NOT NULL,
	instance TEXT NOT NULL,
	number   INTEGER NOT NULL,
	at       INTEGER NOT NULL,
	took     INTEGER NOT NULL, -- nanoseconds
	error    TEXT NOT NULL,
	status   TEXT NOT NULL,
	head     BLOB
) STRICT;
CREATE INDEX queue_attempts_event ON queue_attempts (event);

CREATE TABLE queue_pauses (
	sink     TEXT NOT NULL,
	target   TEXT NOT NULL,
	instance TEXT NOT NULL,
	reason   TEXT NOT NULL,
	at       INTEGER NOT NULL,
	PRIMARY KEY (sink, target, instance)
) STRICT, WITHOUT ROWID;

-- The newest position of the log when the instance was created or deleted: what came before belongs to a former one of that
-- name. A row goes when the log holds nothing of that.
CREATE TABLE beginnings (
	instance TEXT    NOT NULL PRIMARY KEY,
	position INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO meta VALUES ('shards', 16);
INSERT INTO log VALUES (1, 7, 1796059676738, 0, 'e1', 'sales', X'07056576656e740f6d657373616765732e75707365727408696e7374616e63650573616c6573066f726967696e036170690673656e646572133535313140732e77686174736170702e6e65740a7365727665725f75726c1368747470733a2f2f6170692e6578616d706c650573696e6b7311776562686f6f6b0a776562736f636b65740474696d6514323032362d31312d30315431323a30303a30305a', X'7b2274657874223a226f6cc3a1206531227d');
INSERT INTO log VALUES (2, 7, 1796059676739, 177, 'e2', 'sales', X'07056576656e740f6d657373616765732e75707365727408696e7374616e63650573616c6573066f726967696e036170690673656e646572133535313140732e77686174736170702e6e65740a7365727665725f75726c1368747470733a2f2f6170692e6578616d706c650573696e6b7311776562686f6f6b0a776562736f636b65740474696d6514323032362d31312d30315431323a30303a30305a', X'7b2274657874223a226f6cc3a1206532227d');
INSERT INTO log VALUES (3, 7, 1796059676739, 354, 'e3', 'sales', X'07056576656e740f6d657373616765732e75707365727408696e7374616e63650573616c6573066f726967696e036170690673656e646572133535313140732e77686174736170702e6e65740a7365727665725f75726c1368747470733a2f2f6170692e6578616d706c650573696e6b7311776562686f6f6b0a776562736f636b65740474696d6514323032362d31312d30315431323a30303a30305a', X'7b2274657874223a226f6cc3a1206533227d');
INSERT INTO log VALUES (4, 14, 1796059676740, 531, 'g1', 'gone', X'07056576656e740f6d657373616765732e75707365727408696e7374616e636504676f6e65066f726967696e036170690673656e646572133535313140732e77686174736170702e6e65740a7365727665725f75726c1368747470733a2f2f6170692e6578616d706c650573696e6b7311776562686f6f6b0a776562736f636b65740474696d6514323032362d31312d30315431323a30303a30305a', X'7b2274657874223a226f6cc3a1206731227d');
INSERT INTO log VALUES (5, 14, 1796059676741, 707, 'g2', 'gone', X'07056576656e740f6d657373616765732e75707365727408696e7374616e636504676f6e65066f726967696e036170690673656e646572133535313140732e77686174736170702e6e65740a7365727665725f75726c1368747470733a2f2f6170692e6578616d706c650573696e6b7311776562686f6f6b0a776562736f636b65740474696d6514323032362d31312d30315431323a30303a30305a', X'7b2274657874223a226f6cc3a1206732227d');
INSERT INTO cursors VALUES ('audit', 7, 1, 1796059676845);
INSERT INTO instances VALUES ('no token', 2, '{"name":"no token","id":"id-no token","integration":"WHATSAPP-BAILEYS","token":"","createdAt":"2026-11-01T12:00:00Z","updatedAt":"2026-11-01T12:01:00Z"}');
INSERT INTO instances VALUES ('sales', 2, '{"name":"sales","id":"id-sales","integration":"WHATSAPP-BAILEYS","token":"3ceaf3d3be3995fd07c943e571d3ef0b32add3b21ff406db37cc3812e6e1c1f5","createdAt":"2026-11-01T12:00:00Z","updatedAt":"2026-11-01T12:01:00Z","settings":{"webhook":{"id":"s2","value":{"enabled":true,"url":"https://hook.example/?a=\u003cb\u003e\u0026c=''d''"},"createdAt":"2026-11-01T12:00:00Z","updatedAt":"2026-11-01T12:00:00Z"},"websocket":{"id":"s1","value":{"enabled":true,"events":["CALL"]},"createdAt":"2026-11-01T12:00:00Z","updatedAt":"2026-11-01T12:00:00Z"}}}');
INSERT INTO instances VALUES ('young', 2, '{"name":"young","id":"id-young","integration":"WHATSAPP-BAILEYS","token":"4a282a4681356386737350d6d7f149cb55c6bfe2c484c7ed40bbd9d019c48b79","createdAt":"2026-11-01T12:00:01Z","updatedAt":"2026-11-01T12:01:01Z"}');
INSERT INTO instances VALUES ('ältest', 2, '{"name":"ältest","id":"id-ältest","integration":"WHATSAPP-BAILEYS","token":"4a282a4681356386737350d6d7f149cb55c6bfe2c484c7ed40bbd9d019c48b79","createdAt":"2026-11-01T12:00:00.5Z","updatedAt":"2026-11-01T12:01:00.5Z"}');
INSERT INTO facts VALUES ('global_key_digest', X'35393066666439323833336634323633333439623861653137616236313139303266666538646563333739373237343363336434663361353038633964373663');
INSERT INTO queue_events VALUES (1, 'sales', 'q1', 'messages.upsert', 1793534400000, 0, X'5ac89b5777db417700000000000000010dc53d8139c2b9ee0000000000000001', X'0180808cc79882f5e3310f6d657373616765732e7570736572740573616c6573133535313140732e77686174736170702e6e65741368747470733a2f2f6170692e6578616d706c6503617069000207776562686f6f6b09776562736f636b6574', X'7b2274657874223a226f6cc3a1207131227d');
INSERT INTO queue_events VALUES (2, 'sales', 'q2', 'messages.upsert', 1793534400000, 0, X'5ac89b5777db41770000000000000002', X'0180808cc79882f5e3310f6d657373616765732e7570736572740573616c6573133535313140732e77686174736170702e6e65741368747470733a2f2f6170692e6578616d706c6503617069000207776562686f6f6b09776562736f636b6574', X'7b2274657874223a226f6cc3a1207132227d');
INSERT INTO queue_events VALUES (3, 'sales', 'q3', 'messages.upsert', 1793534400000, 0, X'5ac89b5777db41770000000000000003', X'0180808cc79882f5e3310f6d657373616765732e7570736572740573616c6573133535313140732e77686174736170702e6e65741368747470733a2f2f6170692e6578616d706c6503617069000207776562686f6f6b09776562736f636b6574', X'7b2274657874223a226f6cc3a1207133227d');
INSERT INTO queue_lanes VALUES (1, 'webhook', 'instance', 'sales', 2, 3, 1793534400000, 1793534460000, 1793538000000, '503 Service Unavailable');
INSERT INTO queue_lanes VALUES (2, 'rabbitmq', 'global', 'sales', 0, 0, 0, 0, 0, '');
INSERT INTO queue_deliveries VALUES (1, 2, 2, 0);
INSERT INTO queue_deliveries VALUES (2, 1, 2, 0);
INSERT INTO queue_deliveries VALUES (3, 1, 2, 0);
INSERT INTO queue_letters VALUES (1, 'webhook', 'instance', 'sales', 2, 'q1', 'messages.upsert', 'attempts', 3, 1793534400000, 1793534460000, '503 Service Unavailable', 1796059676745, X'0180808cc79882f5e3310f6d657373616765732e7570736572740573616c6573133535313140732e77686174736170702e6e65741368747470733a2f2f6170692e6578616d706c6503617069000207776562686f6f6b09776562736f636b6574', X'7b2274657874223a226f6cc3a1207131227d');
INSERT INTO queue_attempts VALUES (1, 'q1', 'webhook', 'instance', 'sales', 3, 1793534400000, 1500000000, '503 Service Unavailable', '503', X'3c68746d6c3e');
INSERT INTO queue_attempts VALUES (2, 'q2', 'webhook', 'instance', 'sales', 3, 1793534400000, 1500000000, '503 Service Unavailable', '503', X'3c68746d6c3e');
INSERT INTO queue_pauses VALUES ('rabbitmq', '', '', 'maintenance', 1793534400000);
INSERT INTO beginnings VALUES ('gone', 4);
INSERT INTO beginnings VALUES ('no token', 5);
INSERT INTO beginnings VALUES ('sales', 1);
INSERT INTO beginnings VALUES ('young', 5);
INSERT INTO beginnings VALUES ('ältest', 5);

PRAGMA user_version = 3;
