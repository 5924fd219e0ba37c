-- Version 1. "@." is the schema, "@lock_..." the number of an advisory lock. Strings that come from outside are bytea: so
-- the encoding of the database and the byte 0 do not matter.

-- Small numbers: version, shards; log_floor, the position up to which chunks were dropped; log_cut, that of the newest
-- entry that was erased while older ones stayed; instances_revision, how often instances were changed.
CREATE TABLE @.meta (
	key text PRIMARY KEY,
	value bigint NOT NULL
) WITH (fillfactor = 50);
INSERT INTO @.meta (key, value) VALUES ('log_floor', 0), ('log_cut', 0), ('instances_revision', 0);

-- The log. A chunk is the table of 2^20 positions; when it is full of bytes, or old, the rest of its positions are not
-- given out. Retention drops whole chunks.
CREATE TABLE @.log (
	position bigint NOT NULL,
	shard integer NOT NULL,
	bytes integer NOT NULL,
	id bytea NOT NULL,
	instance bytea NOT NULL,
	metadata bytea NOT NULL,
	payload bytea NOT NULL,
	PRIMARY KEY (position)
) PARTITION BY RANGE (position);
ALTER TABLE @.log ALTER COLUMN payload SET STORAGE EXTERNAL;
CREATE INDEX ON @.log (shard, position);
CREATE INDEX ON @.log (id, position);
CREATE TABLE @.log_0 PARTITION OF @.log FOR VALUES FROM (0) TO (1048576);

-- The newest position, and the chunk that is open. One row.
CREATE TABLE @.log_head (
	position bigint NOT NULL,
	chunk bigint NOT NULL,
	events bigint NOT NULL,
	bytes bigint NOT NULL,
	opened timestamptz NOT NULL
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
INSERT INTO @.log_head VALUES (0, 0, 0, 0, clock_timestamp());

-- The chunks that are closed: what they hold, and since when.
CREATE TABLE @.log_chunks (
	chunk bigint PRIMARY KEY,
	newest bigint NOT NULL,
	events bigint NOT NULL,
	bytes bigint NOT NULL,
	closed timestamptz NOT NULL
);

-- The last batch of each writer: when its answer was lost it is sent again, and not written again.
CREATE TABLE @.log_writers (
	writer bytea PRIMARY KEY,
	batch bigint NOT NULL,
	before bigint NOT NULL,
	first bigint NOT NULL,
	known bigint[],
	written timestamptz NOT NULL
) WITH (fillfactor = 50);

-- Where groups are, and what the queue has marked as done behind that.
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
LANGUAGE plpgsql STABLE SET enable_seqscan = off AS $$
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

-- log_chunk closes the open chunk and opens the one of a position behind it.
CREATE FUNCTION @.log_chunk(h @.log_head, next bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO @.log_chunks VALUES (h.chunk, h.position, h.events, h.bytes, clock_timestamp());
	-- A table is attached, and not made as a part of the log, because that takes a lock which readers hold up.
	EXECUTE format('CREATE TABLE %I.%I (LIKE @.log INCLUDING ALL)', @schema, 'log_' || next);
	EXECUTE format('ALTER TABLE @.log ATTACH PARTITION %I.%I FOR VALUES FROM (%s) TO (%s)', @schema, 'log_' || next,
		next << 20, (next + 1) << 20);
END $$;

-- log_roll closes the open chunk if it holds something and is that old, so that an idle log does not keep it for ever.
CREATE FUNCTION @.log_roll(age interval) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	h @.log_head;
	next bigint;
BEGIN
	PERFORM pg_advisory_xact_lock(@lock_publish, 0);
	SELECT * INTO h FROM @.log_head;
	IF h.events > 0 AND clock_timestamp() > h.opened + age THEN
		next := greatest(h.chunk, h.position >> 20) + 1;
		PERFORM @.log_chunk(h, next);
		UPDATE @.log_head SET position = next << 20, chunk = next, events = 0, bytes = 0, opened = clock_timestamp();
	END IF;
END $$;

-- log_append writes a batch behind the log, and returns the position of the newest entry before, that of the first one
-- written, and, if some entries are to be written once, where the log has had each already, 0 for those written. Entries
-- are visible in the order of their positions: the lock is held until the commit can be seen. seen is the newest position
-- that the writer has met: a server that has lost some does not give them out again.
CREATE FUNCTION @.log_append(
	by bytea, number bigint, seen bigint, shards integer[], sizes integer[], ids bytea[], names bytea[],
	metadatas bytea[], payloads bytea[], once boolean[], chunk_bytes bigint, chunk_age interval,
	OUT before bigint, OUT first bigint, OUT known bigint[]
) LANGUAGE plpgsql AS $$
DECLARE
	h @.log_head;
	looked bigint := 0;
	late bigint[];
	fresh integer := cardinality(ids);
	next bigint;
BEGIN
	PERFORM set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off';
	IF once IS NOT NULL THEN -- most of it before the lock
		SELECT position INTO looked FROM @.log_head;
		known := @.log_known(ids, names, once, 0);
	END IF;
	PERFORM pg_advisory_xact_lock(@lock_publish, 0);
	SELECT w.before, w.first, w.known INTO before, first, late FROM @.log_writers w WHERE w.writer = by AND w.batch >= number;
	IF FOUND THEN
		known := late;
		RETURN;
	END IF;
	SELECT * INTO h FROM @.log_head;
	IF once IS NOT NULL THEN
		IF h.position > looked THEN
			late := @.log_known(ids, names, once, looked);
			known := ARRAY(SELECT CASE WHEN k > 0 THEN k ELSE l END FROM unnest(known, late) WITH ORDINALITY AS u(k, l, i) ORDER BY i);
		END IF;
		fresh := (SELECT count(*) FROM unnest(known) AS k WHERE k = 0);
	END IF;
	h.position := greatest(h.position, seen);
	before := h.position;
	first := before + 1;
	IF fresh > 0 THEN
		IF (before + fresh) >> 20 <> h.chunk OR h.bytes >= chunk_bytes OR h.events > 0 AND clock_timestamp() > h.opened + chunk_age THEN
			next := greatest(h.chunk, before >> 20) + 1;
			PERFORM @.log_chunk(h, next);
			first := next << 20;
			h.chunk := next;
			h.events := 0;
			h.bytes := 0;
			h.opened := clock_timestamp();
		END IF;
		INSERT INTO @.log (position, shard, bytes, id, instance, metadata, payload)
		SELECT first - 1 + row_number() OVER (ORDER BY i), u.shard, u.size, u.id, u.name, u.metadata, u.payload
		FROM unnest(shards, sizes, ids, names, metadatas, payloads) WITH ORDINALITY AS u(shard, size, id, name, metadata, payload, i)
		WHERE known IS NULL OR known[i] = 0;
		UPDATE @.log_head SET position = first + fresh - 1, chunk = h.chunk, events = h.events + fresh, opened = h.opened,
			bytes = h.bytes + (SELECT sum(s) FROM unnest(sizes, coalesce(known, array_fill(0::bigint, ARRAY[cardinality(sizes)]))) AS u(s, k) WHERE k = 0);
	END IF;
	INSERT INTO @.log_writers VALUES (by, number, before, first, known, clock_timestamp())
	ON CONFLICT (writer) DO UPDATE SET batch = excluded.batch, before = excluded.before, first = excluded.first,
		known = excluded.known, written = excluded.written;
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
		SELECT h.position INTO birth FROM @.log_head h;
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
	INSERT INTO @.deleted_instances SELECT of, h.position FROM @.log_head h
	ON CONFLICT (name) DO UPDATE SET position = excluded.position;
	INSERT INTO @.instance_changes VALUES (now, of, 0, NULL);
	DELETE FROM @.instance_changes c WHERE c.revision <= now - remember;
	RETURN now;
END $$;
