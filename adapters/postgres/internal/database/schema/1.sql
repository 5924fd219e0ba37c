-- Version 1. "@." is the schema, "@lock_..." the number of an advisory lock. Strings that come from outside are bytea: so
-- the encoding of the database and the byte 0 do not matter.

-- Small numbers: version, shards; log_floor, the position up to which chunks were dropped; log_cut, that of the newest
-- entry that was erased while older ones stayed; instances_revision, pauses_revision and jobs_revision, how often those
-- were changed.
CREATE TABLE @.meta (
	key text PRIMARY KEY,
	value bigint NOT NULL
) WITH (fillfactor = 50);
INSERT INTO @.meta (key, value) VALUES ('log_floor', 0), ('log_cut', 0), ('instances_revision', 0),
	('pauses_revision', 0), ('jobs_revision', 0);

-- The log. A chunk is the table of 2^20 positions; when it is full of bytes, or old, the rest of its positions are not
-- given out. Retention drops whole chunks. batch is in the first entry of each commit, which is known by it when its
-- answer was lost and it is sent again. Appending changes no row: rows that change often cost more and more while a foreign
-- transaction is open, because none of their former versions can go.
CREATE TABLE @.log (
	position bigint NOT NULL,
	shard integer NOT NULL,
	bytes integer NOT NULL,
	batch bytea,
	id bytea NOT NULL,
	instance bytea NOT NULL,
	metadata bytea NOT NULL,
	payload bytea NOT NULL,
	PRIMARY KEY (position)
) PARTITION BY RANGE (position);
ALTER TABLE @.log ALTER COLUMN payload SET STORAGE EXTERNAL;
CREATE INDEX ON @.log (shard, position);
CREATE INDEX ON @.log (id, position);
CREATE INDEX ON @.log (batch) WHERE batch IS NOT NULL;
CREATE TABLE @.log_0 PARTITION OF @.log FOR VALUES FROM (0) TO (1048576);

-- The chunks. The newest one is open. The first position of a chunk is not given out.
CREATE TABLE @.log_chunks (
	chunk bigint PRIMARY KEY,
	opened timestamptz NOT NULL,
	closed timestamptz
);
INSERT INTO @.log_chunks VALUES (0, clock_timestamp());

-- Where groups are, and what the queue has marked as done behind that; done is null where it has marked nothing.
CREATE TABLE @.cursors (
	grp bytea NOT NULL,
	shard integer NOT NULL,
	position bigint NOT NULL,
	done bytea,
	seen timestamptz NOT NULL,
	PRIMARY KEY (grp, shard)
) WITH (fillfactor = 50);

-- Instances whose events were erased, up to which position.
CREATE TABLE @.log_erased (
	instance bytea PRIMARY KEY,
	position bigint NOT NULL
);

CREATE TABLE @.instances (
	name bytea PRIMARY KEY,
	version bigint NOT NULL,
	birth bigint NOT NULL,
	token bytea UNIQUE,
	record bytea NOT NULL
);
-- The position of the log at which an instance was deleted, until retention has passed it.
CREATE TABLE @.deleted_instances (
	name bytea PRIMARY KEY,
	position bigint NOT NULL
);
-- The newest changes of instances; record is null for one that was deleted.
CREATE TABLE @.instance_changes (
	revision bigint PRIMARY KEY,
	name bytea NOT NULL,
	birth bigint NOT NULL,
	record bytea
);
CREATE TABLE @.facts (
	key bytea PRIMARY KEY,
	value bytea NOT NULL
);

-- The queue. An event is a row of its own, with a row for each lane in which it waits; the order of seqs is the order of
-- every lane. record is the id of the instance's record.
CREATE SEQUENCE @.queue_seq;
CREATE TABLE @.queue_events (
	seq bigint PRIMARY KEY,
	id bytea NOT NULL,
	name bytea NOT NULL,
	at timestamptz NOT NULL,
	metadata bytea NOT NULL,
	payload bytea NOT NULL
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000,
	autovacuum_analyze_scale_factor = 0.05);
ALTER TABLE @.queue_events ALTER COLUMN payload SET STORAGE EXTERNAL;
-- tried is the seq of the delivery that the attempts are of.
CREATE TABLE @.queue_lanes (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	shard integer NOT NULL,
	sink bytea NOT NULL,
	target bytea NOT NULL,
	instance bytea NOT NULL,
	record bytea NOT NULL,
	tried bigint NOT NULL DEFAULT 0,
	attempts integer NOT NULL DEFAULT 0,
	first timestamptz,
	last timestamptz,
	next timestamptz,
	error bytea NOT NULL DEFAULT '',
	UNIQUE (instance, record, sink, target)
) WITH (fillfactor = 70);
CREATE INDEX ON @.queue_lanes (shard);
CREATE TABLE @.queue_deliveries (
	lane bigint NOT NULL,
	seq bigint NOT NULL,
	scope smallint NOT NULL,
	droppable boolean NOT NULL,
	size bigint NOT NULL,
	PRIMARY KEY (lane, seq)
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000,
	autovacuum_analyze_scale_factor = 0.05);
CREATE INDEX ON @.queue_deliveries (seq);
-- Which events a lane absorbs when they come again: those put without a position. passed: only while it waits.
CREATE TABLE @.queue_seen (
	lane bigint NOT NULL,
	id bytea NOT NULL,
	n bigint GENERATED ALWAYS AS IDENTITY,
	seq bigint NOT NULL,
	size bigint NOT NULL,
	put timestamptz NOT NULL,
	passed boolean NOT NULL DEFAULT false,
	PRIMARY KEY (lane, id)
);
CREATE TABLE @.queue_letters (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	sink bytea NOT NULL,
	target bytea NOT NULL,
	instance bytea NOT NULL,
	record bytea NOT NULL,
	scope smallint NOT NULL,
	event bytea NOT NULL,
	name bytea NOT NULL,
	reason bytea NOT NULL,
	attempts integer NOT NULL,
	first timestamptz,
	last timestamptz,
	error bytea NOT NULL,
	died timestamptz NOT NULL,
	size bigint NOT NULL,
	metadata bytea NOT NULL,
	payload bytea NOT NULL
);
ALTER TABLE @.queue_letters ALTER COLUMN payload SET STORAGE EXTERNAL;
CREATE INDEX ON @.queue_letters (instance, id);
CREATE INDEX ON @.queue_letters (event);
CREATE TABLE @.queue_attempts (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	event bytea NOT NULL,
	sink bytea NOT NULL,
	target bytea NOT NULL,
	instance bytea NOT NULL,
	record bytea NOT NULL,
	number integer NOT NULL,
	at timestamptz NOT NULL,
	took bigint NOT NULL,
	error bytea NOT NULL,
	status bytea NOT NULL,
	head bytea
);
CREATE INDEX ON @.queue_attempts (event);
CREATE INDEX ON @.queue_attempts (instance);
CREATE TABLE @.queue_pauses (
	sink bytea NOT NULL,
	target bytea NOT NULL,
	instance bytea NOT NULL,
	record bytea NOT NULL,
	reason bytea NOT NULL,
	at timestamptz,
	PRIMARY KEY (sink, target, instance, record)
);
-- What is to be done in shards that other nodes own; the job is JSON.
CREATE TABLE @.queue_jobs (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	job bytea NOT NULL,
	at timestamptz NOT NULL
);
CREATE TABLE @.queue_parts (
	job bigint NOT NULL REFERENCES @.queue_jobs ON DELETE CASCADE,
	shard integer NOT NULL,
	count bigint NOT NULL,
	done boolean NOT NULL,
	PRIMARY KEY (job, shard)
);

-- A lease that is free has no node. The epoch stays.
CREATE TABLE @.leases (
	grp bytea NOT NULL,
	shard integer NOT NULL,
	node bytea,
	epoch bigint NOT NULL,
	until timestamptz NOT NULL,
	PRIMARY KEY (grp, shard)
) WITH (fillfactor = 50);
CREATE TABLE @.nodes (
	node bytea PRIMARY KEY,
	until timestamptz NOT NULL
) WITH (fillfactor = 50);

-- born is the position behind which all entries of an instance are those of the present owner of its name.
CREATE FUNCTION @.born(of bytea) RETURNS bigint LANGUAGE sql STABLE AS $$
	SELECT coalesce((SELECT birth FROM @.instances WHERE name = of),
		(SELECT position FROM @.deleted_instances WHERE name = of), 0)
$$;

-- log_known returns for each entry that is to be written once where the log has it, behind a position; 0 for the others.
CREATE FUNCTION @.log_known(ids bytea[], names bytea[], once boolean[], after bigint) RETURNS bigint[]
LANGUAGE plpgsql STABLE SET jit = off SET enable_seqscan = off AS $$
DECLARE
	known bigint[] := array_fill(0::bigint, ARRAY[cardinality(ids)]);
	at bigint;
BEGIN
	FOR i IN 1 .. cardinality(ids) LOOP
		IF once[i] THEN
			SELECT l.position INTO at FROM @.log l WHERE l.id = ids[i] AND l.position > after ORDER BY l.position LIMIT 1;
			IF FOUND THEN -- seldom; then it matters whose it is
				SELECT l.position INTO at FROM @.log l
				WHERE l.id = ids[i] AND l.position > greatest(after, @.born(names[i])) AND l.instance = names[i]
				ORDER BY l.position LIMIT 1;
				known[i] := coalesce(at, 0);
			END IF;
		END IF;
	END LOOP;
	RETURN known;
END $$;

-- log_newest returns the position of the newest entry, also of one that was erased, or where the open chunk begins.
CREATE FUNCTION @.log_newest() RETURNS bigint LANGUAGE sql STABLE AS $$
	SELECT greatest(o.chunk << 20, (SELECT max(l.position) FROM @.log l WHERE l.position > o.chunk << 20),
		(SELECT value FROM @.meta WHERE key = 'log_cut'))
	FROM (SELECT max(c.chunk) AS chunk FROM @.log_chunks c) AS o
$$;

-- log_open closes the open chunk and opens another one.
CREATE FUNCTION @.log_open(next bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	UPDATE @.log_chunks SET closed = clock_timestamp() WHERE closed IS NULL;
	INSERT INTO @.log_chunks VALUES (next, clock_timestamp());
	-- A table is attached, and not made as a part of the log, because that takes a lock which readers hold up.
	EXECUTE format('CREATE TABLE %I.%I (LIKE @.log INCLUDING ALL)', @schema, 'log_' || next);
	EXECUTE format('ALTER TABLE @.log ATTACH PARTITION %I.%I FOR VALUES FROM (%s) TO (%s)', @schema, 'log_' || next,
		next << 20, (next + 1) << 20);
END $$;

-- log_roll closes the open chunk if it holds something and is that old, so that an idle log does not keep it for ever.
CREATE FUNCTION @.log_roll(age interval) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	c @.log_chunks;
BEGIN
	PERFORM pg_advisory_xact_lock(@lock_publish, 0);
	SELECT * INTO c FROM @.log_chunks x ORDER BY x.chunk DESC LIMIT 1;
	IF @.log_newest() > c.chunk << 20 AND clock_timestamp() > c.opened + age THEN
		PERFORM @.log_open(c.chunk + 1);
	END IF;
END $$;

-- log_lift opens another chunk if the log ends before a position, and returns whether it does: so a server that has lost
-- entries, as a standby that was behind, gives out no positions again that nodes have met.
CREATE FUNCTION @.log_lift(met bigint) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	IF @.log_newest() >= met THEN
		RETURN false;
	END IF;
	PERFORM pg_advisory_xact_lock(@lock_publish, 0);
	IF @.log_newest() >= met THEN
		RETURN false;
	END IF;
	PERFORM @.log_open((met >> 20) + 1);
	RETURN true;
END $$;

-- log_append writes a batch behind the log, and returns the position of the newest entry before, that of the first one
-- written, and, if some entries are to be written once, where the log has had each already, 0 for those written. Entries
-- are visible in the order of their positions: the lock is held until the commit can be seen. A batch of that name that
-- was written behind the position since is not written again. seen is the newest position that the writer has met: a
-- server that has lost some does not give them out again. pauses is how often pauses were changed, so that an event is
-- held by what was paused before it.
CREATE FUNCTION @.log_append(
	label bytea, since bigint, seen bigint, shards integer[], sizes integer[], ids bytea[], names bytea[],
	metadatas bytea[], payloads bytea[], once boolean[], chunk_bytes bigint, chunk_age interval,
	OUT before bigint, OUT first bigint, OUT known bigint[], OUT pauses bigint
) LANGUAGE plpgsql SET jit = off SET enable_seqscan = off AS $$
DECLARE
	c @.log_chunks;
	looked bigint := 0;
	late bigint[];
	fresh integer := cardinality(ids);
BEGIN
	PERFORM set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off';
	IF once IS NOT NULL THEN -- most of it before the lock
		looked := @.log_newest();
		known := @.log_known(ids, names, once, 0);
	END IF;
	PERFORM pg_advisory_xact_lock(@lock_publish, 0);
	SELECT value INTO pauses FROM @.meta WHERE key = 'pauses_revision';
	before := @.log_newest();
	IF once IS NOT NULL AND before > looked THEN
		late := @.log_known(ids, names, once, looked);
		known := ARRAY(SELECT CASE WHEN k > 0 THEN k ELSE l END
			FROM unnest(known, late) WITH ORDINALITY AS u(k, l, i) ORDER BY i);
	END IF;
	SELECT l.position INTO first FROM @.log l WHERE l.batch = label AND l.position > since;
	IF FOUND THEN
		IF once IS NOT NULL THEN
			known := ARRAY(SELECT CASE WHEN k < first THEN k ELSE 0 END FROM unnest(known) WITH ORDINALITY AS u(k, i) ORDER BY i);
		END IF;
		before := first - 1;
		RETURN;
	END IF;
	IF once IS NOT NULL THEN
		fresh := (SELECT count(*) FROM unnest(known) AS k WHERE k = 0);
	END IF;
	before := greatest(before, seen);
	first := before + 1;
	IF fresh = 0 THEN
		RETURN;
	END IF;
	SELECT * INTO c FROM @.log_chunks x ORDER BY x.chunk DESC LIMIT 1;
	IF (before + fresh) >> 20 <> c.chunk OR before > c.chunk << 20 AND (clock_timestamp() > c.opened + chunk_age
		OR (before >> 6 <> (before + fresh) >> 6 OR sizes[1] > 65536) -- seldom: it looks at files
			AND pg_table_size(format('%I.%I', @schema, 'log_' || c.chunk)::regclass) >= chunk_bytes)
	THEN
		c.chunk := greatest(c.chunk, before >> 20) + 1;
		PERFORM @.log_open(c.chunk);
		first := (c.chunk << 20) + 1;
	END IF;
	INSERT INTO @.log (position, shard, bytes, batch, id, instance, metadata, payload)
	SELECT first - 1 + row_number() OVER w, u.shard, u.size, CASE WHEN row_number() OVER w = 1 THEN label END,
		u.id, u.name, u.metadata, u.payload
	FROM unnest(shards, sizes, ids, names, metadatas, payloads) WITH ORDINALITY
		AS u(shard, size, id, name, metadata, payload, i)
	WHERE known IS NULL OR known[i] = 0 WINDOW w AS (ORDER BY i);
END $$;

-- fence returns which of some leases are stale, by their places in the arrays: they have another epoch than the shard's
-- present one, or have ended. It keeps the others from changing hands until the transaction ends. Where no lease of a
-- shard was ever given, its epoch is 1.
CREATE FUNCTION @.fence(grps bytea[], shards integer[], epochs bigint[]) RETURNS integer[] LANGUAGE plpgsql AS $$
DECLARE
	s integer;
BEGIN
	FOR s IN SELECT DISTINCT unnest(shards) ORDER BY 1 LOOP
		PERFORM pg_advisory_xact_lock_shared(@lock_shard, s);
	END LOOP;
	RETURN ARRAY(
		SELECT u.i FROM unnest(grps, shards, epochs) WITH ORDINALITY AS u(grp, shard, epoch, i)
		LEFT JOIN @.leases l ON l.grp = u.grp AND l.shard = u.shard
		WHERE NOT CASE WHEN l.grp IS NULL THEN u.epoch = 1
			ELSE l.epoch = u.epoch AND l.node IS NOT NULL AND l.until > clock_timestamp() END
		ORDER BY 1);
END $$;

-- lease_acquire returns the lease of a shard and for how many milliseconds it lasts, if the node has it now; else no row.
CREATE FUNCTION @.lease_acquire(of bytea, s integer, who bytea, millis bigint)
RETURNS TABLE (epoch bigint, remaining double precision) LANGUAGE plpgsql AS $$
DECLARE
	l @.leases;
BEGIN
	SELECT * INTO l FROM @.leases x WHERE x.grp = of AND x.shard = s;
	IF l.node <> who AND l.until > clock_timestamp() THEN -- those who ask in vain hold up no write
		RETURN;
	END IF;
	PERFORM pg_advisory_xact_lock(@lock_shard, s);
	SELECT * INTO l FROM @.leases x WHERE x.grp = of AND x.shard = s;
	IF l.grp IS NULL THEN
		INSERT INTO @.leases VALUES (of, s, who, 1, clock_timestamp() + millis * interval '1 millisecond');
		RETURN QUERY SELECT 1::bigint, millis::double precision;
	ELSIF l.node IS NOT NULL AND l.until > clock_timestamp() THEN
		IF l.node = who THEN
			RETURN QUERY SELECT l.epoch, 1000 * extract(epoch FROM l.until - clock_timestamp())::double precision;
		END IF;
	ELSE
		UPDATE @.leases x SET node = who, epoch = l.epoch + 1, until = clock_timestamp() + millis * interval '1 millisecond'
		WHERE x.grp = of AND x.shard = s;
		RETURN QUERY SELECT l.epoch + 1, millis::double precision;
	END IF;
END $$;

-- lease_release gives a lease back when what its holder writes has ended, and reports whether it was held.
CREATE FUNCTION @.lease_release(of bytea, s integer, who bytea, e bigint) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_advisory_xact_lock(@lock_shard, s);
	UPDATE @.leases l SET node = NULL WHERE l.grp = of AND l.shard = s AND l.node = who AND l.epoch = e;
	RETURN FOUND;
END $$;

-- cursors_move stores where groups are, of those whose lease has that epoch, and returns the places of the others.
CREATE FUNCTION @.cursors_move(grps bytea[], shards integer[], epochs bigint[], positions bigint[])
RETURNS integer[] LANGUAGE plpgsql AS $$
DECLARE
	stale integer[] := @.fence(grps, shards, epochs);
BEGIN
	UPDATE @.cursors c SET position = greatest(c.position, u.position), seen = clock_timestamp()
	FROM unnest(grps, shards, epochs, positions) WITH ORDINALITY AS u(grp, shard, epoch, position, i)
	WHERE c.grp = u.grp AND c.shard = u.shard AND NOT u.i = ANY(stale);
	RETURN stale;
END $$;

-- instance_put stores an instance if the stored version is the one given, and its token is no other's. It returns the new
-- version and the birth; version 0 is a conflict, -1 a token that is taken.
CREATE FUNCTION @.instance_put(of bytea, was bigint, key bytea, content bytea, remember bigint,
	OUT version bigint, OUT birth bigint
) LANGUAGE plpgsql AS $$
DECLARE
	i @.instances;
BEGIN
	PERFORM pg_advisory_xact_lock(@lock_instances, 0);
	SELECT * INTO i FROM @.instances x WHERE x.name = of;
	version := 0;
	birth := i.birth;
	IF coalesce(i.version, 0) <> was THEN
		RETURN;
	END IF;
	IF key IS NOT NULL AND EXISTS (SELECT FROM @.instances x WHERE x.token = key AND x.name <> of) THEN
		version := -1;
		RETURN;
	END IF;
	UPDATE @.meta m SET value = m.value + 1 WHERE m.key = 'instances_revision' RETURNING m.value INTO version;
	IF i.name IS NULL THEN
		birth := @.log_newest();
		DELETE FROM @.deleted_instances d WHERE d.name = of;
		INSERT INTO @.instances VALUES (of, version, birth, key, content);
	ELSE
		UPDATE @.instances x SET version = instance_put.version, token = key, record = content WHERE x.name = of;
	END IF;
	INSERT INTO @.instance_changes VALUES (version, of, birth, content);
	DELETE FROM @.instance_changes c WHERE c.revision <= instance_put.version - remember;
END $$;

-- instance_delete removes an instance if the stored version is the one given, and returns the revision of that, else 0.
CREATE FUNCTION @.instance_delete(of bytea, was bigint, remember bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	now bigint;
BEGIN
	PERFORM pg_advisory_xact_lock(@lock_instances, 0);
	DELETE FROM @.instances x WHERE x.name = of AND x.version = was;
	IF NOT FOUND THEN
		RETURN 0;
	END IF;
	UPDATE @.meta m SET value = m.value + 1 WHERE m.key = 'instances_revision' RETURNING m.value INTO now;
	INSERT INTO @.deleted_instances VALUES (of, @.log_newest())
	ON CONFLICT (name) DO UPDATE SET position = excluded.position;
	INSERT INTO @.instance_changes VALUES (now, of, 0, NULL);
	DELETE FROM @.instance_changes c WHERE c.revision <= now - remember;
	RETURN now;
END $$;

-- marks_save stores marks of the queue; one that is behind the stored cursor changes nothing.
CREATE FUNCTION @.marks_save(grps bytea[], shards integer[], positions bigint[], dones bytea[]) RETURNS void
LANGUAGE sql AS $$
	INSERT INTO @.cursors AS c (grp, shard, position, done, seen)
	SELECT u.grp, u.shard, u.position, u.done, clock_timestamp()
	FROM unnest(grps, shards, positions, dones) AS u(grp, shard, position, done)
	ORDER BY u.shard, u.grp
	ON CONFLICT (grp, shard) DO UPDATE SET position = excluded.position, done = excluded.done, seen = excluded.seen
	WHERE c.position <= excluded.position
$$;

-- queue_checkpoint stores marks alone. It returns the places of leases that are stale; nothing is stored then.
CREATE FUNCTION @.queue_checkpoint(grps bytea[], shards integer[], epochs bigint[],
	mark_grps bytea[], mark_shards integer[], positions bigint[], dones bytea[]) RETURNS integer[] LANGUAGE plpgsql AS $$
DECLARE
	stale integer[] := @.fence(grps, shards, epochs);
BEGIN
	IF cardinality(stale) = 0 THEN
		PERFORM @.marks_save(mark_grps, mark_shards, positions, dones);
	END IF;
	RETURN stale;
END $$;

-- queue_lock is fence, and keeps other calls from changing the lanes of the shards: so seqs become visible in their
-- order, and the last delivery of an event knows that it is the last.
CREATE FUNCTION @.queue_lock(grps bytea[], shards integer[], epochs bigint[]) RETURNS integer[] LANGUAGE plpgsql AS $$
DECLARE
	stale integer[] := @.fence(grps, shards, epochs);
	s integer;
BEGIN
	IF cardinality(stale) = 0 THEN
		FOR s IN SELECT DISTINCT unnest(shards) ORDER BY 1 LOOP
			PERFORM pg_advisory_xact_lock(@lock_lanes, s);
		END LOOP;
	END IF;
	RETURN stale;
END $$;

-- queue_put stores entries, with their destinations by the place of the entry, and marks. It returns for each
-- destination where it waits, 0 if it does not, and whether it was not absorbed; and how often pauses were changed. A
-- destination with a reason is refused.
CREATE FUNCTION @.queue_put(grps bytea[], shards integer[], epochs bigint[],
	mark_grps bytea[], mark_shards integer[], positions bigint[], dones bytea[],
	ids bytea[], names bytea[], ats timestamptz[], placed boolean[], sizes bigint[], metadatas bytea[], payloads bytea[],
	entries integer[], lane_shards integer[], sinks bytea[], targets bytea[], instances bytea[], records bytea[],
	scopes smallint[], drops boolean[], reasons bytea[],
	OUT stale integer[], OUT seqs bigint[], OUT fresh boolean[], OUT pauses bigint
) LANGUAGE plpgsql
SET jit = off SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
	lanes bigint[];
	places bigint[];
	was bigint;
	gone boolean;
	waits boolean;
BEGIN
	PERFORM set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off';
	stale := @.queue_lock(grps, shards, epochs);
	IF cardinality(stale) > 0 THEN
		RETURN;
	END IF;
	PERFORM @.marks_save(mark_grps, mark_shards, positions, dones);
	SELECT value INTO pauses FROM @.meta WHERE key = 'pauses_revision';
	seqs := '{}';
	fresh := '{}';
	IF coalesce(cardinality(ids), 0) = 0 THEN
		RETURN;
	END IF;
	INSERT INTO @.queue_lanes (shard, sink, target, instance, record)
	SELECT DISTINCT * FROM unnest(lane_shards, sinks, targets, instances, records) ON CONFLICT DO NOTHING;
	lanes := ARRAY(SELECT l.id
		FROM unnest(sinks, targets, instances, records) WITH ORDINALITY AS u(sink, target, instance, record, i)
		JOIN @.queue_lanes l ON l.instance = u.instance AND l.record = u.record AND l.sink = u.sink AND l.target = u.target
		ORDER BY u.i);
	places := ARRAY(SELECT nextval('@.queue_seq') FROM generate_series(1, cardinality(ids)));
	seqs := ARRAY(SELECT CASE WHEN u.reason = '' THEN places[u.entry] ELSE 0 END
		FROM unnest(entries, reasons) WITH ORDINALITY AS u(entry, reason, i) ORDER BY u.i);
	fresh := array_fill(true, ARRAY[cardinality(entries)]);
	FOR i IN 1 .. CASE WHEN false = ANY(placed) THEN cardinality(entries) ELSE 0 END LOOP
		CONTINUE WHEN placed[entries[i]];
		SELECT s.seq, s.passed, EXISTS (SELECT FROM @.queue_deliveries d WHERE d.lane = s.lane AND d.seq = s.seq)
			OR s.seq > 0 AND s.seq = ANY(seqs[1:i - 1]) INTO was, gone, waits
		FROM @.queue_seen s WHERE s.lane = lanes[i] AND s.id = ids[entries[i]];
		IF FOUND AND (waits OR NOT gone) THEN
			fresh[i] := false;
			seqs[i] := CASE WHEN waits THEN was ELSE 0 END;
		ELSE
			INSERT INTO @.queue_seen AS s (lane, id, seq, size, put)
			VALUES (lanes[i], ids[entries[i]], seqs[i], sizes[entries[i]], clock_timestamp())
			ON CONFLICT (lane, id) DO UPDATE SET seq = excluded.seq, size = excluded.size, put = excluded.put, passed = false;
		END IF;
	END LOOP;
	INSERT INTO @.queue_events (seq, id, name, at, metadata, payload)
	SELECT places[u.i], u.id, u.name, u.at, u.metadata, u.payload
	FROM unnest(ids, names, ats, metadatas, payloads) WITH ORDINALITY AS u(id, name, at, metadata, payload, i)
	WHERE u.i IN (SELECT d.entry FROM unnest(entries, seqs, fresh) AS d(entry, seq, fresh) WHERE d.fresh AND d.seq > 0);
	INSERT INTO @.queue_deliveries (lane, seq, scope, droppable, size)
	SELECT u.lane, u.seq, u.scope, u.droppable, sizes[u.entry]
	FROM unnest(lanes, seqs, fresh, scopes, drops, entries) AS u(lane, seq, fresh, scope, droppable, entry)
	WHERE u.fresh AND u.seq > 0;
	INSERT INTO @.queue_letters
		(sink, target, instance, record, scope, event, name, reason, attempts, error, died, size, metadata, payload)
	SELECT u.sink, u.target, u.instance, u.record, u.scope, ids[u.entry], names[u.entry], u.reason, 0, '', clock_timestamp(),
		sizes[u.entry], metadatas[u.entry], payloads[u.entry]
	FROM unnest(sinks, targets, instances, records, scopes, reasons, entries, fresh) WITH ORDINALITY
		AS u(sink, target, instance, record, scope, reason, entry, fresh, i)
	WHERE u.fresh AND u.reason <> '' ORDER BY u.i;
END $$;

-- queue_forget removes those of some events that wait in no lane.
CREATE FUNCTION @.queue_forget(seqs bigint[]) RETURNS void LANGUAGE sql AS $$
	DELETE FROM @.queue_events e WHERE e.seq = ANY(seqs) AND NOT EXISTS (SELECT FROM @.queue_deliveries d WHERE d.seq = e.seq)
$$;

-- queue_record stores how attempts ended, and the log of attempts. Kinds: 1 delivered, 2 tried again, 3 dead.
CREATE FUNCTION @.queue_record(grps bytea[], shards integer[], epochs bigint[],
	sinks bytea[], targets bytea[], instances bytea[], records bytea[], seqs bigint[], kinds integer[], attempts integer[],
	firsts timestamptz[], lasts timestamptz[], nexts timestamptz[], errors bytea[], reasons bytea[],
	events bytea[], tried_sinks bytea[], tried_targets bytea[], tried_instances bytea[], tried_records bytea[],
	numbers integer[], ats timestamptz[], tooks bigint[], tried_errors bytea[], statuses bytea[], heads bytea[]
) RETURNS integer[] LANGUAGE plpgsql
SET jit = off SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
	stale integer[] := @.queue_lock(grps, shards, epochs);
	lanes bigint[];
	ended bigint[];
BEGIN
	IF cardinality(stale) > 0 THEN
		RETURN stale;
	END IF;
	INSERT INTO @.queue_attempts (event, sink, target, instance, record, number, at, took, error, status, head)
	SELECT u.event, u.sink, u.target, u.instance, u.record, u.number, u.at, u.took, u.error, u.status, u.head
	FROM unnest(events, tried_sinks, tried_targets, tried_instances, tried_records, numbers, ats, tooks,
			tried_errors, statuses, heads)
		WITH ORDINALITY AS u(event, sink, target, instance, record, number, at, took, error, status, head, i) ORDER BY u.i;
	lanes := ARRAY(SELECT coalesce(l.id, 0)
		FROM unnest(sinks, targets, instances, records) WITH ORDINALITY AS u(sink, target, instance, record, i)
		LEFT JOIN @.queue_lanes l ON l.instance = u.instance AND l.record = u.record AND l.sink = u.sink AND l.target = u.target
		ORDER BY u.i);
	UPDATE @.queue_lanes l SET tried = u.seq, attempts = u.attempts, first = u.first, last = u.last, next = u.next,
		error = u.error
	FROM (SELECT DISTINCT ON (r.lane) * FROM unnest(lanes, seqs, kinds, attempts, firsts, lasts, nexts, errors) WITH ORDINALITY
		AS r(lane, seq, kind, attempts, first, last, next, error, i) WHERE r.kind = 2 ORDER BY r.lane, r.i DESC) AS u
	WHERE l.id = u.lane;
	INSERT INTO @.queue_letters (sink, target, instance, record, scope, event, name, reason, attempts, first, last,
		error, died, size, metadata, payload)
	SELECT l.sink, l.target, l.instance, l.record, d.scope, e.id, e.name, u.reason, u.attempts, u.first, u.last, u.error,
		clock_timestamp(), d.size, e.metadata, e.payload
	FROM (SELECT DISTINCT ON (r.lane, r.seq) *
		FROM unnest(lanes, seqs, kinds, attempts, firsts, lasts, errors, reasons) WITH ORDINALITY
		AS r(lane, seq, kind, attempts, first, last, error, reason, i) WHERE r.kind <> 2 ORDER BY r.lane, r.seq, r.i) AS u
	JOIN @.queue_deliveries d ON d.lane = u.lane AND d.seq = u.seq
	JOIN @.queue_events e ON e.seq = d.seq
	JOIN @.queue_lanes l ON l.id = d.lane
	WHERE u.kind = 3 ORDER BY u.i;
	WITH gone AS (
		DELETE FROM @.queue_deliveries d USING unnest(lanes, seqs, kinds) AS u(lane, seq, kind)
		WHERE u.kind <> 2 AND d.lane = u.lane AND d.seq = u.seq RETURNING d.seq)
	SELECT array_agg(seq) INTO ended FROM gone;
	PERFORM @.queue_forget(ended);
	RETURN stale;
END $$;

-- queue_purge removes deliveries from a lane; with a reason they become dead letters.
CREATE FUNCTION @.queue_purge(grps bytea[], shards integer[], epochs bigint[],
	lane_sink bytea, lane_target bytea, lane_instance bytea, lane_record bytea, behind bigint, until bigint, most bigint, droppable_only boolean, why bytea,
	OUT stale integer[], OUT count bigint, OUT bytes bigint
) LANGUAGE plpgsql
SET jit = off SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
	l @.queue_lanes;
	gone bigint[];
BEGIN
	stale := @.queue_lock(grps, shards, epochs);
	count := 0;
	bytes := 0;
	IF cardinality(stale) > 0 THEN
		RETURN;
	END IF;
	SELECT * INTO l FROM @.queue_lanes x
	WHERE x.instance = lane_instance AND x.record = lane_record AND x.sink = lane_sink AND x.target = lane_target;
	SELECT array_agg(d.seq), count(*), coalesce(sum(d.size), 0) INTO gone, count, bytes FROM (
		SELECT x.seq, x.size FROM @.queue_deliveries x
		WHERE x.lane = l.id AND x.seq > behind AND x.seq <= until AND (x.droppable OR NOT droppable_only)
		ORDER BY x.seq LIMIT most) AS d;
	IF count = 0 THEN
		RETURN;
	END IF;
	IF why <> '' THEN
		INSERT INTO @.queue_letters (sink, target, instance, record, scope, event, name, reason, attempts, first, last,
		error, died, size, metadata, payload)
		SELECT l.sink, l.target, l.instance, l.record, d.scope, e.id, e.name, why,
			CASE WHEN l.tried = d.seq THEN l.attempts ELSE 0 END, CASE WHEN l.tried = d.seq THEN l.first END,
			CASE WHEN l.tried = d.seq THEN l.last END, CASE WHEN l.tried = d.seq THEN l.error ELSE '' END,
			clock_timestamp(), d.size, e.metadata, e.payload
		FROM @.queue_deliveries d JOIN @.queue_events e ON e.seq = d.seq
		WHERE d.lane = l.id AND d.seq = ANY(gone) ORDER BY d.seq;
	END IF;
	DELETE FROM @.queue_deliveries d WHERE d.lane = l.id AND d.seq = ANY(gone);
	PERFORM @.queue_forget(gone);
END $$;

-- queue_requeue moves dead letters back to the ends of their lanes, in the order given.
CREATE FUNCTION @.queue_requeue(grps bytea[], shards integer[], epochs bigint[], ids bigint[], put timestamptz)
RETURNS TABLE (stale integer[], id bigint, sink bytea, target bytea, instance bytea, record bytea, scope smallint,
	seq bigint, size bigint)
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
	r @.queue_letters;
	of bigint;
	place bigint;
	refused integer[] := @.queue_lock(grps, shards, epochs);
	wanted bigint;
BEGIN
	IF cardinality(refused) > 0 THEN
		RETURN QUERY SELECT refused, 0::bigint, ''::bytea, ''::bytea, ''::bytea, ''::bytea, 0::smallint, 0::bigint, 0::bigint;
		RETURN;
	END IF;
	FOREACH wanted IN ARRAY ids LOOP
		DELETE FROM @.queue_letters q WHERE q.id = wanted RETURNING * INTO r;
		CONTINUE WHEN NOT FOUND;
		INSERT INTO @.queue_lanes (shard, sink, target, instance, record)
		VALUES (shards[1], r.sink, r.target, r.instance, r.record) ON CONFLICT DO NOTHING;
		SELECT l.id INTO of FROM @.queue_lanes l
		WHERE l.instance = r.instance AND l.record = r.record AND l.sink = r.sink AND l.target = r.target;
		place := nextval('@.queue_seq');
		INSERT INTO @.queue_events (seq, id, name, at, metadata, payload)
		VALUES (place, r.event, r.name, put, r.metadata, r.payload);
		INSERT INTO @.queue_deliveries (lane, seq, scope, droppable, size) VALUES (of, place, r.scope, false, r.size);
		RETURN QUERY SELECT refused, r.id, r.sink, r.target, r.instance, r.record, r.scope, place, r.size;
	END LOOP;
END $$;

-- queue_sweep_lanes removes what is known of lanes of a shard in which nothing waits and that absorb nothing.
CREATE FUNCTION @.queue_sweep_lanes(s integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_advisory_xact_lock(@lock_lanes, s);
	DELETE FROM @.queue_lanes l WHERE l.shard = s
		AND NOT EXISTS (SELECT FROM @.queue_deliveries d WHERE d.lane = l.id)
		AND NOT EXISTS (SELECT FROM @.queue_seen x WHERE x.lane = l.id);
END $$;

-- queue_sweep_seen forgets what is absorbed: what was put before the newest ones within the bounds. Of what waits it notes
-- that it is to be forgotten.
CREATE FUNCTION @.queue_sweep_seen(age interval, count bigint, bytes bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	r record;
BEGIN
	FOR r IN
		SELECT s.lane, s.id, s.seq, EXISTS (SELECT FROM @.queue_deliveries d WHERE d.lane = s.lane AND d.seq = s.seq) AS waits
		FROM (SELECT x.*, row_number() OVER newest AS place, sum(x.size) OVER newest AS total
			FROM @.queue_seen x WINDOW newest AS (ORDER BY x.n DESC)) AS s
		WHERE NOT s.passed AND (s.place > count OR s.total > bytes OR s.put <= clock_timestamp() - age) OR s.passed
	LOOP
		IF r.waits THEN
			UPDATE @.queue_seen s SET passed = true WHERE s.lane = r.lane AND s.id = r.id AND s.seq = r.seq AND NOT s.passed;
		ELSE
			DELETE FROM @.queue_seen s WHERE s.lane = r.lane AND s.id = r.id AND s.seq = r.seq;
		END IF;
	END LOOP;
END $$;

-- queue_advance_job adds to the count of a part of a job, and returns how often jobs were changed, 0 if there is none.
CREATE FUNCTION @.queue_advance_job(grps bytea[], shards integer[], epochs bigint[], of bigint, more bigint, ended boolean,
	OUT stale integer[], OUT revision bigint
) LANGUAGE plpgsql AS $$
BEGIN
	revision := 0;
	stale := @.fence(grps, shards, epochs);
	IF cardinality(stale) = 0 AND EXISTS (SELECT FROM @.queue_jobs j WHERE j.id = of) THEN
		UPDATE @.queue_parts p SET count = p.count + more, done = p.done OR ended WHERE p.job = of AND p.shard = shards[1];
		UPDATE @.meta m SET value = m.value + 1 WHERE m.key = 'jobs_revision' RETURNING m.value INTO revision;
	END IF;
END $$;
