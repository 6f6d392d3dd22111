-- The schema of dosimeter.
--
-- Rules that keep the big tables distributable (Citus) by case_id: it leads every unique key of prediction, assertion and
-- record_key; these have no triggers and no foreign keys to local tables; conflict clauses use no now(). Queues, leases,
-- alerts, history and audit are plain local tables. Partitioning has one level, by time.

create sequence seal_id;
comment on sequence seal_id is 'Numbers of seals. A transaction takes one before it writes rows that are sealed, as its setting dosimeter.seal.';

create table chain_head (
    chain text primary key check (chain in ('acts', 'seals')),
    number bigint not null,
    hash bytea not null check (octet_length(hash) = 32)
);
insert into chain_head (chain, number, hash)
select chain, 0, decode(repeat('00', 32), 'hex') from unnest(array['acts', 'seals']) as t (chain);
comment on table chain_head is 'The last link of each chain. Its row lock, held to the commit, leaves no gap and no fork.';
comment on column chain_head.chain is 'acts: the table audit; seals: the table seal.';
comment on column chain_head.number is 'Number of the last link; 0 before the first.';
comment on column chain_head.hash is 'Its hash; zeros before the first.';

create table seal (
    number bigint primary key,
    seal_id bigint not null,
    relation text not null,
    leaves bytea not null check (octet_length(leaves) % 32 = 0),
    sealed_at timestamptz not null,
    previous_hash bytea not null check (octet_length(previous_hash) = 32),
    hash bytea not null check (octet_length(hash) = 32),
    unique (seal_id, relation)
);
comment on table seal is 'What transactions wrote into tables that only grow, hash-chained, append-only: the hash of every row, and of them all.';
comment on column seal.number is 'Number of the link, without gaps.';
comment on column seal.seal_id is 'What the rows carry.';
comment on column seal.relation is 'The table that they are in.';
comment on column seal.leaves is 'SHA-256 of each row, one behind the other, in the order of the rows'' keys.';
comment on column seal.sealed_at is 'When, by the database server''s clock.';
comment on column seal.previous_hash is 'Hash of the seal before it.';
comment on column seal.hash is 'SHA-256 of all of it, as docs/audit.md says.';

create table model (
    model_id integer generated always as identity primary key,
    name text not null unique,
    bucket text not null check (bucket in ('day', 'hour')),
    fold_digest text not null,
    created_at timestamptz not null,
    seal_id bigint not null default current_setting('dosimeter.seal')::bigint
);
create index model_seal on model (seal_id);
comment on table model is 'A monitored model.';
comment on column model.model_id is 'Number of the model.';
comment on column model.name is 'Name of the model, as in the plan.';
comment on column model.bucket is 'Length of its buckets.';
comment on column model.fold_digest is 'Digest of the part of the plan that shapes summaries; a change folds every bucket again.';
comment on column model.created_at is 'When the model was first in a plan.';
comment on column model.seal_id is 'The seal of the transaction that wrote it.';

create table model_version (
    version_id integer generated always as identity primary key,
    model_id integer not null references model,
    name text not null,
    first_seen_at timestamptz not null,
    seal_id bigint not null default current_setting('dosimeter.seal')::bigint,
    unique (model_id, name)
);
create index model_version_seal on model_version (seal_id);
comment on table model_version is 'One release of a model, known from its first prediction.';
comment on column model_version.version_id is 'Number of the version.';
comment on column model_version.model_id is 'The model.';
comment on column model_version.name is 'Name of the version, as the records state it.';
comment on column model_version.first_seen_at is 'When its first prediction was taken in.';
comment on column model_version.seal_id is 'The seal of the transaction that wrote it.';

create table output (
    output_id integer generated always as identity primary key,
    model_id integer not null references model,
    name text not null,
    seal_id bigint not null default current_setting('dosimeter.seal')::bigint,
    unique (model_id, name)
);
create index output_seal on output (seal_id);
comment on table output is 'One thing that a model says, and what is estimated beside: (feature) of the input, (readers) of a finding, the whole (model).';
comment on column output.output_id is 'Number of the output.';
comment on column output.model_id is 'The model.';
comment on column output.name is 'Name of the output, as in the plan.';
comment on column output.seal_id is 'The seal of the transaction that wrote it.';

create table finding (
    truth_id integer generated always as identity primary key,
    name text not null unique,
    seal_id bigint not null default current_setting('dosimeter.seal')::bigint
);
create index finding_seal on finding (seal_id);
comment on table finding is 'What truth is stated about. Models share findings: one assertion serves every model that predicts it.';
comment on column finding.truth_id is 'Number of the finding.';
comment on column finding.name is 'Name of the finding, as the records state it.';
comment on column finding.seal_id is 'The seal of the transaction that wrote it.';

create table plan (
    plan_id integer generated always as identity primary key,
    digest text not null unique,
    body jsonb not null,
    adopted_at timestamptz not null,
    seal_id bigint not null default current_setting('dosimeter.seal')::bigint
);
create index plan_seal on plan (seal_id);
comment on table plan is 'Every configuration that was ever in force, without secrets: the monitoring plan.';
comment on column plan.plan_id is 'Number of the plan.';
comment on column plan.digest is 'SHA-256 of the canonical body.';
comment on column plan.body is 'The canonical body.';
comment on column plan.adopted_at is 'When it was first adopted.';
comment on column plan.seal_id is 'The seal of the transaction that wrote it.';

create table batch_counter (
    only_row boolean primary key default true check (only_row),
    last_batch bigint not null,
    head bytea not null check (octet_length(head) = 32),
    frozen_before timestamptz,
    gone boolean not null
);
insert into batch_counter (last_batch, head, gone) values (0, decode(repeat('00', 32), 'hex'), false);
comment on table batch_counter is 'The last batch number. Its row lock, held to the commit, makes numbers ascend in commit order. What every commit has to know stands beside it.';
comment on column batch_counter.only_row is 'There is one row.';
comment on column batch_counter.last_batch is 'The number given last.';
comment on column batch_counter.head is 'The hash of the last batch; zeros before the first.';
comment on column batch_counter.frozen_before is 'Buckets before this instant are frozen: their predictions are gone or about to go, and no more are taken in. Null while nothing is.';
comment on column batch_counter.gone is 'Whether gone_case has a row.';

create table batch (
    batch_id bigint primary key,
    source text not null,
    origin text not null,
    committed_at timestamptz not null,
    accepted bigint not null,
    duplicates bigint not null,
    rejected bigint not null,
    parts json not null,
    rows_digest bytea not null check (octet_length(rows_digest) = 32),
    previous_hash bytea not null check (octet_length(previous_hash) = 32),
    hash bytea not null check (octet_length(hash) = 32)
);
comment on table batch is 'One committed batch of records; its number is the clock "recorded".';
comment on column batch.batch_id is 'Number, ascending in commit order.';
comment on column batch.source is 'The source.';
comment on column batch.origin is 'What the source read: a file.';
comment on column batch.committed_at is 'When it was taken in.';
comment on column batch.accepted is 'Records that were new.';
comment on column batch.duplicates is 'Records that were known with the same content.';
comment on column batch.rejected is 'Records that were refused.';
comment on column batch.parts is 'The rows that it brought, by table and month: how many, and the digest of their sorted leaves.';
comment on column batch.rows_digest is 'Digest of parts.';
comment on column batch.previous_hash is 'The hash of the batch before it; zeros of the first.';
comment on column batch.hash is 'SHA-256 of previous_hash and every other column: a chain.';
create index batch_source on batch (source, committed_at);
create index batch_time on batch (committed_at, batch_id);

create table record_key (
    case_id text not null,
    kind smallint not null,
    record_id text not null,
    digest bytea not null,
    occurred_at timestamptz not null,
    version_id integer,
    batch_id bigint not null,
    primary key (case_id, kind, record_id)
);
comment on table record_key is 'Identity of every record, written in its transaction: deduplicates whatever its time says, and finds the buckets that an assertion dirties.';
comment on column record_key.case_id is 'The case, as a pseudonym.';
comment on column record_key.kind is '1 for a prediction, 2 for an assertion.';
comment on column record_key.record_id is 'The sender''s id, or one derived from the content that identifies it.';
comment on column record_key.digest is 'SHA-256 of the content.';
comment on column record_key.occurred_at is 'When the prediction was made, or the assertion observed.';
comment on column record_key.version_id is 'Version of a prediction.';
comment on column record_key.batch_id is 'The batch that brought it.';

create table prediction (
    case_id text not null,
    record_id text not null,
    version_id integer not null,
    occurred_at timestamptz not null,
    subject_id text,
    output_ids integer[] not null,
    scores double precision[] not null,
    attributes jsonb not null,
    embedding real[],
    batch_id bigint not null,
    until_batch bigint,
    salt bytea not null,
    primary key (case_id, record_id, occurred_at, batch_id)
) partition by range (occurred_at);
create index prediction_version_time on prediction (version_id, occurred_at);
create index prediction_batch on prediction using brin (batch_id) with (pages_per_range = 32, autosummarize = on);
create table prediction_default partition of prediction default;
comment on table prediction is 'Scores of one version for one case at one time.';
comment on table prediction_default is 'Predictions of months that have no partition of their own.';
comment on column prediction.case_id is 'The case, as a pseudonym.';
comment on column prediction.record_id is 'Identity within the case.';
comment on column prediction.version_id is 'The version that spoke.';
comment on column prediction.occurred_at is 'When it spoke.';
comment on column prediction.subject_id is 'Whom the case is about, as a pseudonym.';
comment on column prediction.output_ids is 'Outputs that have a score.';
comment on column prediction.scores is 'Their probabilities or values, in the same order.';
comment on column prediction.attributes is 'Slice dimensions and metadata.';
comment on column prediction.embedding is 'What the model made of its input inside, if it says.';
comment on column prediction.batch_id is 'The batch that brought it.';
comment on column prediction.until_batch is 'The batch that brought the same prediction with more outputs or attributes; from then on that row counts. Never set back.';
comment on column prediction.salt is 'Random: with it the row is a leaf of its batch, and a leaf that is left of an erased row says nothing.';

create function make_prediction_partition(month timestamptz) returns void language plpgsql security definer
set search_path = pg_catalog, public, pg_temp as $$
declare
    first timestamp := date_trunc('month', month at time zone 'UTC');
begin
    execute format('create table if not exists public.%I partition of public.prediction for values from (%L) to (%L)',
        'prediction_' || to_char(first, 'YYYY_MM'), first at time zone 'UTC', (first + interval '1 month') at time zone 'UTC');
end
$$;
create function drop_prediction_partition(month timestamptz) returns void language plpgsql security definer
set search_path = pg_catalog, public, pg_temp as $$
declare
    first timestamp := date_trunc('month', month at time zone 'UTC');
begin
    if not exists (select from public.batch_counter where frozen_before >= (first + interval '1 month') at time zone 'UTC') then
        raise exception 'the month of % is not frozen', month;
    end if;
    execute format('drop table if exists public.%I', 'prediction_' || to_char(first, 'YYYY_MM'));
end
$$;
revoke execute on function drop_prediction_partition from public;
comment on function drop_prediction_partition is 'Drop the partition of a month that is frozen, as the owner of the table: retention need not own it.';
comment on function make_prediction_partition is 'Make the partition of a month, as the owner of the table: whoever writes rows need not own it.';

create table assertion (
    case_id text not null,
    record_id text not null,
    truth_id integer not null,
    opinion text not null check (opinion in ('negative', 'uncertain', 'positive') or opinion ~ '^(class|value):'),
    source text not null,
    reader text not null,
    status text not null,
    observed_at timestamptz not null,
    batch_id bigint not null,
    salt bytea not null,
    primary key (case_id, record_id)
);
create index assertion_batch on assertion (batch_id);
comment on table assertion is 'One statement of truth. Never overwritten: a correction is another row.';
comment on column assertion.case_id is 'The case, as a pseudonym.';
comment on column assertion.record_id is 'Identity within the case.';
comment on column assertion.truth_id is 'The finding it is about.';
comment on column assertion.opinion is 'What is stated: negative, uncertain, positive; class: and the output_id of the class; value: and a number.';
comment on column assertion.source is 'Where the statement comes from.';
comment on column assertion.reader is 'Who made it; empty when the source does not say.';
comment on column assertion.status is 'How settled it is: preliminary, final, amended, corrected, entered-in-error.';
comment on column assertion.observed_at is 'When the hospital knew it.';
comment on column assertion.batch_id is 'The batch that brought it.';
comment on column assertion.salt is 'Random, as that of a prediction.';

create table rejection (
    rejection_id bigint generated always as identity primary key,
    source text not null,
    origin text not null,
    line bigint not null,
    item integer not null,
    field text not null,
    reason text not null,
    message text not null,
    payload jsonb not null,
    batch_id bigint not null,
    rejected_at timestamptz not null,
    content_digest bytea not null,
    key_id text,
    record bytea,
    replayed_at timestamptz,
    resolved_at timestamptz,
    resolved_by bigint,
    salt bytea not null,
    first_words bytea,
    check ((key_id is null) = (record is null) and (resolved_at is null) = (resolved_by is null)),
    unique (source, origin, line, item, content_digest)
);
create index rejection_reason on rejection (source, reason);
create index rejection_key on rejection (key_id) where key_id is not null;
create index rejection_age on rejection (rejected_at);
create index rejection_batch on rejection (batch_id);
comment on table rejection is 'Records that were refused, each with its reason. Reading the same content again adds nothing.';
comment on column rejection.rejection_id is 'Number of the rejection.';
comment on column rejection.source is 'The source.';
comment on column rejection.origin is 'The file.';
comment on column rejection.line is 'Line or row in it, from 1; 0 for the whole file.';
comment on column rejection.item is 'Which record of that row, from 0.';
comment on column rejection.field is 'The column or field at fault.';
comment on column rejection.reason is 'The reason as one word.';
comment on column rejection.message is 'What is wrong and what to do about it.';
comment on column rejection.payload is 'The mapped columns of the record without its identifiers.';
comment on column rejection.batch_id is 'The batch that refused it.';
comment on column rejection.rejected_at is 'When it was refused.';
comment on column rejection.key_id is 'The key that the record is encrypted with; none where no record is kept.';
comment on column rejection.record is 'The record as it stood, with its identifiers, encrypted: nonce, then ciphertext. It is about source, origin, line and item.';
comment on column rejection.replayed_at is 'When it was last sent through the door again.';
comment on column rejection.resolved_at is 'When it was taken in after all.';
comment on column rejection.resolved_by is 'The batch that took it in.';
comment on column rejection.salt is 'Random, as that of a prediction.';
comment on column rejection.first_words is 'Digest of the salt, field, reason and message that it was refused with first, once these have been replaced; the leaf is made of it.';
comment on column rejection.content_digest is 'SHA-256 of field, reason, message and the record as it stood: a file that is read again, grown or under another mapping, does not repeat its rejections.';

create table identifier (
    pseudonym text not null,
    kind smallint not null,
    key_id text,
    sealed bytea,
    batch_id bigint not null,
    erased_at timestamptz,
    salt bytea not null,
    primary key (pseudonym, kind),
    check ((sealed is null) = (erased_at is not null) and (sealed is null) = (key_id is null))
);
create index identifier_key on identifier (key_id) where key_id is not null;
create index identifier_batch on identifier (batch_id);
comment on table identifier is 'What pseudonyms stand for, encrypted. Erased ids leave a row without content, so that no record brings them back.';
comment on column identifier.pseudonym is 'The pseudonym.';
comment on column identifier.kind is '1 of a case, 2 of a subject.';
comment on column identifier.key_id is 'The key that it is encrypted with.';
comment on column identifier.sealed is 'The id, encrypted: nonce, then ciphertext. It is about kind and pseudonym.';
comment on column identifier.batch_id is 'The batch that brought it first.';
comment on column identifier.erased_at is 'When it was erased.';
comment on column identifier.salt is 'Random, as that of a prediction.';

create table gone_case (
    tomb bytea primary key check (octet_length(tomb) = 16),
    erasure_id bigint,
    gone_at timestamptz not null
);
comment on table gone_case is 'Cases whose rows are gone, in a form that names nobody, so that no record brings them back.';
comment on column gone_case.tomb is 'Keyed hash of the kind (case or subject) and the pseudonym.';
comment on column gone_case.erasure_id is 'The erasure that removed it; null of retention.';
comment on column gone_case.gone_at is 'When it went. Of a subject: predictions of before are refused.';

create table erasure (
    erasure_id bigint generated always as identity primary key,
    batch_id bigint not null unique,
    tomb bytea not null,
    erased_at timestamptz not null,
    counts json not null,
    leaves bigint not null,
    leaves_digest bytea not null check (octet_length(leaves_digest) = 32),
    seal_id bigint not null default current_setting('dosimeter.seal')::bigint
);
create index erasure_seal on erasure (seal_id);
comment on table erasure is 'Erasures of persons and cases, append-only. Who asked for it and why is in the audit.';
comment on column erasure.erasure_id is 'Number of the erasure.';
comment on column erasure.batch_id is 'The batch that it was: from it on the rows are gone.';
comment on column erasure.tomb is 'Keyed hash of what was to be erased; it names nobody.';
comment on column erasure.erased_at is 'When.';
comment on column erasure.counts is 'Rows that went, by table.';
comment on column erasure.leaves is 'Leaves that are left of them.';
comment on column erasure.leaves_digest is 'Digest of these, sorted. It is in the audit as well.';
comment on column erasure.seal_id is 'The seal of the transaction that wrote it.';

create table erased_leaf (
    batch_id bigint not null,
    relation text not null,
    month timestamptz not null,
    leaf bytea not null check (octet_length(leaf) = 32),
    erasure_id bigint not null references erasure,
    seal_id bigint not null default current_setting('dosimeter.seal')::bigint,
    primary key (batch_id, relation, month, leaf)
);
create index erased_leaf_erasure on erased_leaf (erasure_id);
create index erased_leaf_seal on erased_leaf (seal_id);
comment on table erased_leaf is 'What is left of erased rows, append-only: their leaves without the salt, so that each batch still adds up.';
comment on column erased_leaf.batch_id is 'The batch that had brought the row.';
comment on column erased_leaf.relation is 'The table that it was in.';
comment on column erased_leaf.month is 'The month of the part of the batch.';
comment on column erased_leaf.leaf is 'The leaf.';
comment on column erased_leaf.erasure_id is 'The erasure.';
comment on column erased_leaf.seal_id is 'The seal of the transaction that wrote it.';

create table erased_bucket (
    version_id integer not null references model_version,
    bucket timestamptz not null,
    batch_id bigint not null,
    seal_id bigint not null default current_setting('dosimeter.seal')::bigint,
    primary key (version_id, bucket, batch_id)
);
create index erased_bucket_seal on erased_bucket (seal_id);
comment on table erased_bucket is 'Buckets from which erasures took cases, append-only: what was recorded before cannot be folded again.';
comment on column erased_bucket.version_id is 'The version.';
comment on column erased_bucket.bucket is 'Start of the bucket.';
comment on column erased_bucket.batch_id is 'The batch that the erasure was.';
comment on column erased_bucket.seal_id is 'The seal of the transaction that wrote it.';

create table retirement (
    month timestamptz primary key,
    recorded bigint not null,
    retired_at timestamptz not null,
    counts json not null,
    parts bigint not null,
    parts_digest bytea not null check (octet_length(parts_digest) = 32),
    seal_id bigint not null default current_setting('dosimeter.seal')::bigint
);
create index retirement_seal on retirement (seal_id);
comment on table retirement is 'Months whose rows retention has removed, append-only.';
comment on column retirement.month is 'The month of the predictions.';
comment on column retirement.recorded is 'The last batch before.';
comment on column retirement.retired_at is 'When.';
comment on column retirement.counts is 'Rows that went, by table.';
comment on column retirement.parts is 'Parts of batches that lost some of their rows.';
comment on column retirement.parts_digest is 'Digest of what is left of these. It is in the audit as well.';
comment on column retirement.seal_id is 'The seal of the transaction that wrote it.';

create table retired_part (
    batch_id bigint not null,
    relation text not null,
    month timestamptz not null,
    retirement timestamptz not null references retirement,
    rows bigint not null,
    digest bytea not null check (octet_length(digest) = 32),
    seal_id bigint not null default current_setting('dosimeter.seal')::bigint,
    primary key (batch_id, relation, month, retirement)
);
create index retired_part_retirement on retired_part (retirement);
create index retired_part_seal on retired_part (seal_id);
comment on table retired_part is 'What was left of a part of a batch when retention had removed some of its rows, append-only; the latest counts.';
comment on column retired_part.batch_id is 'The batch.';
comment on column retired_part.relation is 'The table.';
comment on column retired_part.month is 'The month of the part.';
comment on column retired_part.retirement is 'The month that was retired.';
comment on column retired_part.rows is 'Leaves that were left.';
comment on column retired_part.digest is 'Digest of these.';
comment on column retired_part.seal_id is 'The seal of the transaction that wrote it.';

create table rejections_retired (
    before timestamptz primary key,
    retired_at timestamptz not null,
    rows bigint not null,
    seal_id bigint not null default current_setting('dosimeter.seal')::bigint
);
create index rejections_retired_seal on rejections_retired (seal_id);
comment on table rejections_retired is 'How far refused records have been removed for their age, append-only.';
comment on column rejections_retired.before is 'Those of batches committed before.';
comment on column rejections_retired.retired_at is 'When.';
comment on column rejections_retired.rows is 'How many.';
comment on column rejections_retired.seal_id is 'The seal of the transaction that wrote it.';

create table contract_breach (
    model_id integer not null references model,
    name text not null,
    reason text not null,
    hour timestamptz not null,
    records bigint not null,
    primary key (model_id, name, reason, hour)
);
comment on table contract_breach is 'Predictions that were taken in though they break the contract of the plan, by hour of arrival.';
comment on column contract_breach.model_id is 'The model.';
comment on column contract_breach.name is 'The attribute.';
comment on column contract_breach.reason is 'What of it the contract does not allow, as one word.';
comment on column contract_breach.hour is 'The hour in which they were taken in.';
comment on column contract_breach.records is 'How many.';

create table source_file (
    source text not null,
    digest text not null,
    mapping text not null,
    rows_done bigint not null,
    state text not null check (state in ('reading', 'done', 'unreadable')),
    columns text[],
    first_seen_at timestamptz not null,
    finished_at timestamptz,
    primary key (source, digest)
);
create index source_file_age on source_file (source, first_seen_at);
comment on table source_file is 'The cursor of file sources: how far each content has been read. It moves in the transaction that takes the rows in.';
comment on column source_file.source is 'The source.';
comment on column source_file.digest is 'SHA-256 of the bytes: a changed file under an old name is another content.';
comment on column source_file.mapping is 'Digest of what the plan made of its columns. After a change of that the content is read again: rows that were refused may pass, and known ones may say more.';
comment on column source_file.rows_done is 'Rows taken in so far.';
comment on column source_file.state is 'reading, done, or unreadable as a whole.';
comment on column source_file.columns is 'The columns that it had of those that the plan named; null of a file without a header.';
comment on column source_file.first_seen_at is 'When reading began.';
comment on column source_file.finished_at is 'When the last row was taken in.';

create table source_path (
    source text not null,
    path text not null,
    bytes bigint not null,
    modified_at timestamptz not null,
    tag text,
    digest text not null,
    primary key (source, path)
);
comment on table source_path is 'Which content each path, or object, held when it was last read, so that an unchanged path is not read again.';
comment on column source_path.source is 'The source.';
comment on column source_path.path is 'The path.';
comment on column source_path.bytes is 'Size in bytes.';
comment on column source_path.modified_at is 'Modification time.';
comment on column source_path.tag is 'What the object store calls the content; nothing of files.';
comment on column source_path.digest is 'SHA-256 of the bytes.';

create table source_cursor (
    source text not null,
    partition text not null,
    position jsonb not null,
    mapping text not null,
    newest_at timestamptz,
    moved_at timestamptz not null,
    primary key (source, partition)
);
comment on table source_cursor is 'The cursor of sources that are read on from a position. It moves in the transaction that takes the rows in.';
comment on column source_cursor.source is 'The source.';
comment on column source_cursor.partition is 'Which part of it; empty where it has none.';
comment on column source_cursor.position is 'From where reading goes on, as the source''s kind writes it.';
comment on column source_cursor.mapping is 'Digest of what the plan made of its columns.';
comment on column source_cursor.newest_at is 'The latest time that its rows themselves stated.';
comment on column source_cursor.moved_at is 'When it moved last.';

create table source_pull (
    source text primary key,
    next_at timestamptz not null,
    paid_until timestamptz not null,
    succeeded_at timestamptz,
    newest_at timestamptz,
    pending bigint,
    failing_since timestamptz,
    attempts integer not null default 0,
    reason text,
    message text
);
comment on table source_pull is 'How it stands with sources that are asked again and again.';
comment on column source_pull.source is 'The source.';
comment on column source_pull.next_at is 'It is not asked before.';
comment on column source_pull.paid_until is 'Up to when its rows have used up the rate that the plan allows.';
comment on column source_pull.succeeded_at is 'When it last answered and all that it said was committed.';
comment on column source_pull.newest_at is 'The latest time that its records themselves stated.';
comment on column source_pull.pending is 'How much waits to be read, where that is known.';
comment on column source_pull.failing_since is 'Since when it has failed each time; empty while it does not.';
comment on column source_pull.attempts is 'How often it has failed since.';
comment on column source_pull.reason is 'Why it fails, as metrics name it.';
comment on column source_pull.message is 'Why it fails, in words.';

create table inference_event (
    source text not null,
    event_id text not null,
    half text not null check (half in ('request', 'response')),
    body text not null,
    received_at timestamptz not null,
    primary key (source, event_id, half)
);
create index inference_event_age on inference_event (source, received_at);
comment on table inference_event is 'Events of inference servers that wait for their other half, or to be taken in; then they go.';
comment on column inference_event.source is 'The source.';
comment on column inference_event.event_id is 'Id of the event, the same for both halves of an inference.';
comment on column inference_event.half is 'Whether it is the request or the response.';
comment on column inference_event.body is 'The event as JSON: attributes and data. It may hold identifiers, and goes with the transaction that takes it in.';
comment on column inference_event.received_at is 'When it came.';

create table dirty_bucket (
    version_id integer not null references model_version,
    bucket timestamptz not null,
    since_batch bigint not null,
    batch_id bigint not null,
    primary key (version_id, bucket)
);
comment on table dirty_bucket is 'Buckets that have to be folded again.';
comment on column dirty_bucket.version_id is 'The version.';
comment on column dirty_bucket.bucket is 'Start of the bucket.';
comment on column dirty_bucket.since_batch is 'All batches before this one are in its summaries; 0 when these have another shape.';
comment on column dirty_bucket.batch_id is 'The latest batch that touched it.';

create table summary (
    version_id integer not null references model_version,
    output_id integer not null references output,
    slice text not null,
    bucket timestamptz not null,
    body bytea not null,
    predictions bigint not null,
    labelled bigint,
    batch_id bigint not null,
    known_at timestamptz,
    primary key (version_id, output_id, slice, bucket)
);
create index summary_of_all on summary (bucket) where slice = 'all';
comment on table summary is 'Sufficient statistics of one bucket: a cache of the latest knowledge. Older knowledge is folded again from rows.';
comment on column summary.version_id is 'The version.';
comment on column summary.output_id is 'The output.';
comment on column summary.slice is 'The slice in canonical form.';
comment on column summary.bucket is 'Start of the bucket.';
comment on column summary.body is 'The encoded summary.';
comment on column summary.predictions is 'How many rows are in the body, so that nothing need decode it to count them.';
comment on column summary.labelled is 'How many of them have their truth; null of what has none, such as features.';
comment on column summary.batch_id is 'All rows up to this batch are in it.';
comment on column summary.known_at is 'The latest observed_at of the assertions about its cases, if there are any.';

create table pinned_summary (
    version_id integer not null references model_version,
    output_id integer not null references output,
    slice text not null,
    bucket timestamptz not null,
    body bytea not null,
    predictions bigint not null,
    labelled bigint,
    batch_id bigint not null,
    known_at timestamptz,
    fold_digest text not null,
    reference_id integer,
    pinned_at timestamptz not null,
    seal_id bigint not null default current_setting('dosimeter.seal')::bigint,
    primary key (version_id, output_id, slice, bucket)
);
create index pinned_summary_seal on pinned_summary (seal_id);
comment on table pinned_summary is 'Summaries of frozen buckets, append-only: their rows are gone, or about to go, and nothing changes them any more.';
comment on column pinned_summary.version_id is 'The version.';
comment on column pinned_summary.output_id is 'The output.';
comment on column pinned_summary.slice is 'The slice in canonical form.';
comment on column pinned_summary.bucket is 'Start of the bucket.';
comment on column pinned_summary.body is 'The summary in the format of summary::codec.';
comment on column pinned_summary.predictions is 'Predictions in it.';
comment on column pinned_summary.labelled is 'Those whose truth was known; null where it does not matter.';
comment on column pinned_summary.batch_id is 'All rows up to this batch are in it.';
comment on column pinned_summary.known_at is 'The latest observed_at of the assertions that are in the bucket.';
comment on column pinned_summary.fold_digest is 'The shape in which it was folded.';
comment on column pinned_summary.reference_id is 'The reference through which embeddings were seen.';
comment on column pinned_summary.pinned_at is 'When it was pinned.';
comment on column pinned_summary.seal_id is 'The seal of the transaction that wrote it.';

create table reference (
    reference_id integer generated always as identity primary key,
    version_id integer not null references model_version,
    window_from timestamptz,
    window_to timestamptz,
    known_at timestamptz,
    recorded bigint,
    origin text not null,
    shape jsonb not null,
    projector json,
    frozen_at timestamptz not null,
    frozen_by text not null,
    reason text not null,
    approved_at timestamptz,
    approved_by text,
    approval_reason text,
    seal_id bigint not null default current_setting('dosimeter.seal')::bigint
);
create index reference_seal on reference (seal_id);
comment on table reference is 'A frozen summary that a version is compared with. The latest approved one is in force.';
comment on column reference.reference_id is 'Number of the reference.';
comment on column reference.version_id is 'The version it is for.';
comment on column reference.window_from is 'First instant of the rows it was frozen from.';
comment on column reference.window_to is 'First instant after them.';
comment on column reference.known_at is 'Truth observed up to then is in it.';
comment on column reference.recorded is 'Batches up to this one are in it.';
comment on column reference.origin is 'Where it comes from: frozen here, or a file.';
comment on column reference.shape is 'What its rows were folded into: what has another shape today is not compared with it.';
comment on column reference.projector is 'What was frozen of the embeddings: later ones are seen through it.';
comment on column reference.frozen_at is 'When it was made.';
comment on column reference.frozen_by is 'Who made it.';
comment on column reference.reason is 'Why.';
comment on column reference.approved_at is 'When it was approved.';
comment on column reference.approved_by is 'Who approved it.';
comment on column reference.approval_reason is 'Why it was approved.';
comment on column reference.seal_id is 'The seal of the transaction that wrote it.';

create table reference_summary (
    reference_id integer not null references reference,
    output_id integer not null references output,
    slice text not null,
    body bytea not null,
    seal_id bigint not null default current_setting('dosimeter.seal')::bigint,
    primary key (reference_id, output_id, slice)
);
create index reference_summary_seal on reference_summary (seal_id);
comment on table reference_summary is 'The parts of a reference.';
comment on column reference_summary.reference_id is 'The reference.';
comment on column reference_summary.output_id is 'The output.';
comment on column reference_summary.slice is 'The slice.';
comment on column reference_summary.body is 'The encoded summary.';
comment on column reference_summary.seal_id is 'The seal of the transaction that wrote it.';

create table estimate (
    estimate_id bigint generated always as identity primary key,
    version_id integer not null references model_version,
    output_id integer not null references output,
    slice text not null,
    window_name text not null,
    window_from timestamptz not null,
    window_to timestamptz not null,
    known_at timestamptz not null,
    recorded bigint not null,
    plan_id integer not null references plan,
    reference_id integer references reference,
    input_digest text not null,
    calculator integer not null,
    metrics jsonb not null,
    estimated_at timestamptz not null,
    seal_id bigint not null default current_setting('dosimeter.seal')::bigint
);
create index estimate_history on estimate (version_id, output_id, slice, window_name, window_to, estimate_id) include (estimated_at);
create index estimate_window on estimate (version_id, window_name, window_to, estimate_id);
create index estimate_seal on estimate (seal_id);
comment on table estimate is 'Published results, append-only: one row holds all metrics of one window.';
comment on column estimate.estimate_id is 'Number of the estimate.';
comment on column estimate.version_id is 'The version.';
comment on column estimate.output_id is 'The output.';
comment on column estimate.slice is 'The slice.';
comment on column estimate.window_name is 'The window of the plan: 7d, 30d, month.';
comment on column estimate.window_from is 'First instant of the window.';
comment on column estimate.window_to is 'First instant after it.';
comment on column estimate.known_at is 'Truth observed up to then was used.';
comment on column estimate.recorded is 'Batches up to this one were used.';
comment on column estimate.plan_id is 'The plan that asked.';
comment on column estimate.reference_id is 'The reference it was compared with.';
comment on column estimate.input_digest is 'SHA-256 of the summaries and parameters that went in.';
comment on column estimate.calculator is 'Version of the formulas.';
comment on column estimate.metrics is 'Every metric: value, interval, n, exactness, or the reason why there is none.';
comment on column estimate.estimated_at is 'When it was computed.';
comment on column estimate.seal_id is 'The seal of the transaction that wrote it.';

create table replay (
    replay_id bigint generated always as identity primary key,
    estimate_id bigint not null references estimate,
    verdict text not null check (verdict in ('agrees', 'differs', 'cannot')),
    words text not null,
    replayed_at timestamptz not null,
    seal_id bigint not null default current_setting('dosimeter.seal')::bigint
);
create index replay_seal on replay (seal_id);
create index replay_estimate on replay (estimate_id, replay_id);
create index replay_differs on replay (estimate_id) where verdict = 'differs';
comment on table replay is 'Past estimates that the daemon has made again, append-only.';
comment on column replay.replay_id is 'Number of the replay.';
comment on column replay.estimate_id is 'The estimate.';
comment on column replay.verdict is 'agrees (the same bits), differs, or cannot (what it was made of is gone).';
comment on column replay.words is 'What differs, or why it cannot be made again; empty when it agrees.';
comment on column replay.replayed_at is 'When.';
comment on column replay.seal_id is 'The seal of the transaction that wrote it.';

create table pinned_input (
    input_id bigint generated always as identity primary key,
    version_id integer not null references model_version,
    window_from timestamptz not null,
    window_to timestamptz not null,
    known_at timestamptz not null,
    recorded bigint not null,
    plan_id integer not null references plan,
    reference_id integer references reference,
    reason text,
    pinned_at timestamptz not null,
    seal_id bigint not null default current_setting('dosimeter.seal')::bigint
);
create unique index pinned_input_key on pinned_input
    (version_id, window_from, window_to, known_at, recorded, plan_id, coalesce(reference_id, 0));
create index pinned_input_seal on pinned_input (seal_id);
comment on table pinned_input is 'What estimates of frozen windows were made of, append-only, so that they can be replayed once their rows are gone.';
comment on column pinned_input.input_id is 'Number of the inputs.';
comment on column pinned_input.version_id is 'The version.';
comment on column pinned_input.window_from is 'First instant of the window.';
comment on column pinned_input.window_to is 'First instant after it.';
comment on column pinned_input.known_at is 'That of the estimates.';
comment on column pinned_input.recorded is 'That of the estimates.';
comment on column pinned_input.plan_id is 'Their plan.';
comment on column pinned_input.reference_id is 'Their reference.';
comment on column pinned_input.reason is 'Why there are none; null where there are.';
comment on column pinned_input.pinned_at is 'When they were pinned.';
comment on column pinned_input.seal_id is 'The seal of the transaction that wrote it.';

create table pinned_body (
    digest bytea primary key check (octet_length(digest) = 32),
    body bytea not null,
    seal_id bigint not null default current_setting('dosimeter.seal')::bigint
);
create index pinned_body_seal on pinned_body (seal_id);
comment on table pinned_body is 'Merged summaries of pinned inputs, append-only; equal ones are kept once.';
comment on column pinned_body.digest is 'SHA-256 of the body.';
comment on column pinned_body.body is 'The encoded summary.';
comment on column pinned_body.seal_id is 'The seal of the transaction that wrote it.';

create table pinned_part (
    input_id bigint not null references pinned_input,
    output_id integer not null references output,
    slice text not null,
    digest bytea not null references pinned_body,
    seal_id bigint not null default current_setting('dosimeter.seal')::bigint,
    primary key (input_id, output_id, slice)
);
create index pinned_part_seal on pinned_part (seal_id);
comment on table pinned_part is 'The summaries of pinned inputs, append-only.';
comment on column pinned_part.input_id is 'The inputs.';
comment on column pinned_part.output_id is 'The output.';
comment on column pinned_part.slice is 'The slice in canonical form.';
comment on column pinned_part.digest is 'Digest of the summary.';
comment on column pinned_part.seal_id is 'The seal of the transaction that wrote it.';

create table current_estimate (
    version_id integer not null references model_version,
    window_name text not null,
    output_id integer not null references output,
    slice text not null,
    estimate_id bigint not null references estimate,
    input_digest text not null,
    primary key (version_id, window_name, output_id, slice)
);
comment on table current_estimate is 'The latest estimate of everything that is still published.';
comment on column current_estimate.version_id is 'The version.';
comment on column current_estimate.window_name is 'The window of the plan.';
comment on column current_estimate.output_id is 'The output.';
comment on column current_estimate.slice is 'The slice.';
comment on column current_estimate.estimate_id is 'The estimate.';
comment on column current_estimate.input_digest is 'Its input digest: equal inputs are not published twice.';

create table evaluation (
    version_id integer not null references model_version,
    window_name text not null,
    input_state text not null,
    evaluated_at timestamptz not null,
    primary key (version_id, window_name)
);
comment on table evaluation is 'What the latest evaluation of a window found, so that an unchanged window is left alone.';
comment on column evaluation.version_id is 'The version.';
comment on column evaluation.window_name is 'The window of the plan.';
comment on column evaluation.input_state is 'Window, plan, reference, calculator and the batches of the summaries.';
comment on column evaluation.evaluated_at is 'When.';

create table sealed_day (
    version_id integer not null references model_version,
    maturity_days integer not null,
    with_truth boolean not null,
    day timestamptz not null,
    recorded bigint not null,
    sealed_at timestamptz not null,
    seal_id bigint not null default current_setting('dosimeter.seal')::bigint,
    primary key (version_id, maturity_days, with_truth, day)
);
create index sealed_day_seal on sealed_day (seal_id);
comment on table sealed_day is 'Days whose evidence is sealed, append-only. Alarms are raised on sealed evidence alone.';
comment on column sealed_day.version_id is 'The version.';
comment on column sealed_day.maturity_days is 'A case is sealed so many days after it was made, or when its truth settles, whichever is later.';
comment on column sealed_day.with_truth is 'Whether cases wait for truth.';
comment on column sealed_day.day is 'The day, in UTC.';
comment on column sealed_day.recorded is 'Batches up to this one were in it.';
comment on column sealed_day.sealed_at is 'When it was sealed.';
comment on column sealed_day.seal_id is 'The seal of the transaction that wrote it.';

create table ledger (
    version_id integer not null,
    maturity_days integer not null,
    with_truth boolean not null,
    day timestamptz not null,
    output_id integer not null references output,
    slice text not null,
    body bytea not null,
    seal_id bigint not null default current_setting('dosimeter.seal')::bigint,
    primary key (version_id, maturity_days, with_truth, output_id, slice, day),
    foreign key (version_id, maturity_days, with_truth, day) references sealed_day
);
create index ledger_seal on ledger (seal_id);
comment on table ledger is 'The evidence ledger: the cases sealed on a day, append-only. Every case enters once; what is learned later changes nothing.';
comment on column ledger.version_id is 'The version.';
comment on column ledger.maturity_days is 'The maturity of its cases in days.';
comment on column ledger.with_truth is 'Whether cases wait for truth.';
comment on column ledger.day is 'The day of the seal, in UTC.';
comment on column ledger.output_id is 'The output.';
comment on column ledger.slice is 'The slice in canonical form.';
comment on column ledger.body is 'Scores by truth, subjects with several cases, pairs with other versions, and how many cases came of age, in the encoding of sealed days.';
comment on column ledger.seal_id is 'The seal of the transaction that wrote it.';

create table stream (
    stream_id bigint generated always as identity primary key,
    version_id integer not null references model_version,
    watch text not null,
    output_id integer not null references output,
    slice text not null,
    asked text not null,
    reference_id integer references reference,
    maturity_days integer not null,
    with_truth boolean not null,
    definition json,
    reason text,
    starts timestamptz not null,
    looked_until timestamptz not null,
    made_at timestamptz not null,
    ended_at timestamptz,
    seal_id bigint not null default current_setting('dosimeter.seal')::bigint,
    check ((definition is null) = (reason is not null))
);
create unique index stream_in_force on stream (version_id, watch, output_id, slice) where ended_at is null;
create index stream_seal on stream (seal_id);
comment on table stream is 'One measure of one output in one slice under watch. What it bets on is frozen when it is made; another version, reference or watch makes another stream.';
comment on column stream.stream_id is 'Number of the stream.';
comment on column stream.version_id is 'The version.';
comment on column stream.watch is 'The watch of the plan.';
comment on column stream.output_id is 'The output.';
comment on column stream.slice is 'The slice in canonical form.';
comment on column stream.asked is 'SHA-256 of the watch as the plan has it and of the reference: when it changes, another stream is made.';
comment on column stream.reference_id is 'The reference that its null values come from; absent under a contract.';
comment on column stream.maturity_days is 'The maturity of its cases in days.';
comment on column stream.with_truth is 'Whether its cases wait for truth.';
comment on column stream.definition is 'What it bets on, null values and all; absent where there is a reason.';
comment on column stream.reason is 'Why it cannot be watched.';
comment on column stream.starts is 'The first day whose evidence it takes in.';
comment on column stream.looked_until is 'Sealed days before this one have been taken in.';
comment on column stream.made_at is 'When it was made.';
comment on column stream.ended_at is 'When it was replaced, or its watch or version given up.';
comment on column stream.seal_id is 'The seal of the transaction that wrote it.';

create table stream_tier (
    stream_id bigint not null references stream,
    tier text not null check (tier in ('page', 'ticket', 'watch')),
    weight double precision not null,
    threshold double precision not null,
    primary key (stream_id, tier)
);
comment on table stream_tier is 'The present part of a stream in each tier; evidence keeps what it was on each day.';
comment on column stream_tier.stream_id is 'The stream.';
comment on column stream_tier.tier is 'page, ticket or watch.';
comment on column stream_tier.weight is 'Its share of the tier''s budget; 0 of a chart.';
comment on column stream_tier.threshold is 'The evidence at which there is an alarm, or at which it is watched although no other stream is.';

create table stream_check (
    stream_id bigint not null references stream,
    month timestamptz not null,
    from_day timestamptz not null,
    effect json,
    checked_at timestamptz not null,
    seal_id bigint not null default current_setting('dosimeter.seal')::bigint,
    primary key (stream_id, month)
);
create index stream_check_seal on stream_check (seal_id);
comment on table stream_check is 'Whether the cases or subjects of a stream''s days hang together, found once a month of sealed days, append-only.';
comment on column stream_check.stream_id is 'The stream.';
comment on column stream_check.month is 'The beginning of the month: days sealed before it were looked at.';
comment on column stream_check.from_day is 'The first day that was looked at.';
comment on column stream_check.effect is 'The design effect with its limits; absent where the days do not tell.';
comment on column stream_check.checked_at is 'When.';
comment on column stream_check.seal_id is 'The seal of the transaction that wrote it.';

create table health (
    model_id integer not null references model,
    rule text not null,
    subject text not null,
    severity text not null check (severity in ('page', 'ticket')),
    verdict text not null check (verdict in ('broken', 'kept', 'undecided')),
    reason text not null,
    usual text,
    since timestamptz,
    changed_at timestamptz not null,
    judged_at timestamptz not null,
    primary key (model_id, rule, subject)
);
comment on table health is 'What the rules about the data of a model were last judged to be: a model that is silent has no estimates. History is in the alerts.';
comment on column health.model_id is 'The model.';
comment on column health.rule is 'The rule''s word in the plan.';
comment on column health.subject is 'What of the model: a source, a finding, a version; empty for the whole.';
comment on column health.severity is 'page or ticket.';
comment on column health.verdict is 'broken, kept or undecided.';
comment on column health.reason is 'Why, in words.';
comment on column health.usual is 'What is usual, where the past says.';
comment on column health.since is 'Since when it has been as it is, where the facts say.';
comment on column health.changed_at is 'Since when the verdict has been this one.';
comment on column health.judged_at is 'When it was last judged.';

create table alert (
    alert_id bigint generated always as identity primary key,
    rule text not null,
    version_id integer not null references model_version,
    output_id integer not null references output,
    slice text not null,
    severity text not null,
    state text not null check (state in ('pending', 'firing', 'acknowledged', 'resolved', 'cleared', 'expired')),
    breached boolean not null,
    since timestamptz not null,
    fired_at timestamptz,
    acknowledged_at timestamptz,
    missing_since timestamptz,
    told_at timestamptz,
    unanswered_since timestamptz,
    escalation integer not null,
    owed boolean not null,
    muted_by text,
    muted_until timestamptz,
    closed_at timestamptz,
    seal_id bigint not null default current_setting('dosimeter.seal')::bigint
);
create unique index alert_open on alert (rule, version_id, output_id, slice) where closed_at is null;
create index alert_seal on alert (seal_id);
comment on table alert is 'The present state of alerts. At most one is open per rule, version, output and slice.';
comment on column alert.alert_id is 'Number of the alert. Numbers are reserved before the alert is written: one that is missing was never used.';
comment on column alert.rule is 'The rule of the plan.';
comment on column alert.version_id is 'The version.';
comment on column alert.output_id is 'The output.';
comment on column alert.slice is 'The slice.';
comment on column alert.severity is 'page or ticket.';
comment on column alert.state is 'pending, firing, acknowledged, resolved (by a person), cleared (before it fired) or expired (its subject is gone).';
comment on column alert.breached is 'Whether the condition holds at present.';
comment on column alert.since is 'Since when the condition has held, or has not, as breached says.';
comment on column alert.fired_at is 'When it fired.';
comment on column alert.acknowledged_at is 'When a person took it up; null once the acknowledgement is over.';
comment on column alert.missing_since is 'Since when nothing speaks of its subject; null while something does.';
comment on column alert.told_at is 'When people were last told of it.';
comment on column alert.unanswered_since is 'Since when nobody has acknowledged what people were told.';
comment on column alert.escalation is 'Level of escalation that people were told at: 0 for none.';
comment on column alert.owed is 'Whether there is news of it that something has kept from people.';
comment on column alert.muted_by is 'What keeps it quiet, as last decided: silence 4, maintenance NAME, alert 17; null when nothing does.';
comment on column alert.muted_until is 'When that ends by itself; null for another alert.';
comment on column alert.closed_at is 'When it was resolved, cleared or expired.';
comment on column alert.seal_id is 'The seal of the transaction that wrote it.';

create table evidence (
    stream_id bigint not null references stream,
    tier text not null check (tier in ('page', 'ticket', 'watch')),
    day timestamptz not null,
    evidence double precision not null,
    weight double precision not null,
    threshold double precision not null,
    change_at timestamptz,
    alarms boolean not null,
    measured json,
    state json not null,
    looked_at timestamptz not null,
    alert_id bigint references alert,
    seal_id bigint not null default current_setting('dosimeter.seal')::bigint,
    primary key (stream_id, tier, day)
);
create index evidence_alarms on evidence (looked_at) where alarms;
create index evidence_seal on evidence (seal_id);
comment on table evidence is 'What each sealed day made of a stream''s evidence in a tier, append-only; days without a unit have no row.';
comment on column evidence.stream_id is 'The stream.';
comment on column evidence.tier is 'page, ticket or watch: each tier has a budget and evidence of its own.';
comment on column evidence.day is 'The sealed day.';
comment on column evidence.evidence is 'The evidence M after it, or the sum or average of a chart.';
comment on column evidence.weight is 'The stream''s share of the tier''s budget on this day; 0 of a chart.';
comment on column evidence.threshold is 'The evidence at which there is an alarm.';
comment on column evidence.change_at is 'When the change began, by the bet that has won most.';
comment on column evidence.alarms is 'Whether this is an alarm; then the evidence has started anew.';
comment on column evidence.measured is 'Of an alarm: what the watch measured since the change, with its interval and n.';
comment on column evidence.state is 'The detector after the day: the next day goes on from here.';
comment on column evidence.looked_at is 'When it was taken in.';
comment on column evidence.alert_id is 'Of an alarm: the alert that took it in. It is answered when that is closed.';
comment on column evidence.seal_id is 'The seal of the transaction that wrote it.';

create table alert_event (
    event_id bigint generated always as identity primary key,
    alert_id bigint not null references alert,
    at timestamptz not null,
    transition text not null,
    state text not null,
    actor text not null,
    reason text not null,
    decision text,
    estimate_id bigint references estimate,
    standing json not null,
    seal_id bigint not null default current_setting('dosimeter.seal')::bigint
);
create index alert_event_history on alert_event (alert_id, event_id);
create index alert_event_seal on alert_event (seal_id);
comment on table alert_event is 'Every transition of an alert and every decision to tell people of it or not, append-only.';
comment on column alert_event.event_id is 'Number of the event.';
comment on column alert_event.alert_id is 'The alert.';
comment on column alert_event.at is 'When.';
comment on column alert_event.transition is 'What happened; told, muted or unmuted when the state stayed as it was.';
comment on column alert_event.state is 'The state after it.';
comment on column alert_event.actor is 'Who: dosimeter, or a person.';
comment on column alert_event.reason is 'Why, in words.';
comment on column alert_event.decision is 'Whether people were told, and why or why not; null for what a person did.';
comment on column alert_event.estimate_id is 'The estimate that was decisive.';
comment on column alert_event.standing is 'Where the alert stood after it, as its row said: what is asked of an earlier instant is read here.';
comment on column alert_event.seal_id is 'The seal of the transaction that wrote it.';

-- What dashboards read (docs/dashboards.md): names instead of numbers; no case, no subject, no secret.

create view history_version as
select m.name as model, v.name as version, v.first_seen_at
from model_version v join model m using (model_id);
comment on view history_version is 'The versions of the models.';

create view history_estimate as
select m.name as model, v.name as version, o.name as output, e.slice, e.window_name, e.window_from, e.window_to, e.estimate_id,
    e.known_at, e.recorded, e.plan_id, e.reference_id, e.input_digest, e.calculator, e.metrics::jsonb as metrics, e.estimated_at
from estimate e join model_version v using (version_id) join model m using (model_id) join output o using (output_id);
comment on view history_estimate is 'Published estimates.';

create view history_current as
select e.* from history_estimate e where e.estimate_id in (select estimate_id from current_estimate);
comment on view history_current is 'The latest estimate of everything that is still published.';

create view history_evidence as
select m.name as model, v.name as version, s.watch, o.name as output, s.slice, e.stream_id, e.tier, e.day, e.evidence, e.weight,
    e.threshold, e.change_at, e.alarms, e.looked_at, e.alert_id
from evidence e join stream s using (stream_id) join model_version v using (version_id) join model m using (model_id)
    join output o using (output_id);
comment on view history_evidence is 'What each sealed day made of the evidence of each stream.';

create view history_alert_event as
select m.name as model, v.name as version, a.rule, o.name as output, a.slice, a.severity, x.alert_id, x.event_id, x.at, x.transition,
    x.state, x.actor, x.reason, x.decision, x.estimate_id
from alert_event x join alert a using (alert_id) join model_version v using (version_id) join model m using (model_id)
    join output o using (output_id);
comment on view history_alert_event is 'Every transition of an alert, decision to tell, and human step.';

create view history_day as
select m.name as model, v.name as version, o.name as output, s.slice, date_trunc('day', s.bucket, 'UTC') as day,
    sum(s.predictions)::bigint as predictions, sum(s.labelled)::bigint as labelled
from (select version_id, output_id, slice, bucket, predictions, labelled from summary
    union all select version_id, output_id, slice, bucket, predictions, labelled from pinned_summary) s join model_version v using (version_id) join model m using (model_id) join output o using (output_id)
group by m.name, v.name, o.name, s.slice, date_trunc('day', s.bucket, 'UTC');
comment on view history_day is 'Predictions of each day, and those whose truth is known today, or was when its bucket was frozen.';

create table outbox (
    outbox_id bigint generated always as identity primary key,
    alert_id bigint references alert,
    event_id bigint references alert_event,
    route text not null,
    channel text not null,
    recipient text not null,
    escalation integer not null,
    opens_thread boolean not null,
    report jsonb not null,
    chart bytea,
    created_at timestamptz not null,
    queued_at timestamptz not null,
    next_attempt_at timestamptz not null,
    attempts integer not null,
    last_error text,
    set_at timestamptz not null,
    claimed_by bigint,
    sent_at timestamptz,
    dead_at timestamptz
);
create index outbox_due on outbox (next_attempt_at) where sent_at is null and dead_at is null;
create index outbox_alert on outbox (alert_id);
comment on table outbox is 'Notices to be sent, written in the transaction of the transition they tell of.';
comment on column outbox.outbox_id is 'Number of the notice; its idempotency key derives from it.';
comment on column outbox.alert_id is 'The alert whose thread it belongs to, the first of several; none if it tells of a dead letter.';
comment on column outbox.event_id is 'The event of the alert it tells of.';
comment on column outbox.route is 'The route of the plan it goes by.';
comment on column outbox.channel is 'email, webhook, slack, pagerduty or alertmanager: the channel of the route when it was written.';
comment on column outbox.recipient is 'To whom: an email address, or scheme and host of a server.';
comment on column outbox.escalation is 'Level of escalation that it is told at: 0 for none.';
comment on column outbox.opens_thread is 'Whether it is the first notice of the alert to this recipient: later ones answer it.';
comment on column outbox.report is 'What it says, for the channel to put into its form.';
comment on column outbox.chart is 'A PNG to show.';
comment on column outbox.created_at is 'When it was written.';
comment on column outbox.queued_at is 'Since when it has been tried: when it was written, or when a person had a dead letter sent again; later by the time in which nobody tried.';
comment on column outbox.next_attempt_at is 'When to try next.';
comment on column outbox.attempts is 'Attempts that failed since then.';
comment on column outbox.last_error is 'Why the last one failed.';
comment on column outbox.set_at is 'When next_attempt_at was set: if that is to come, the clock has been set back, and the notice is due.';
comment on column outbox.claimed_by is 'Fencing number of the lease under which it is being sent; the claim of an earlier holder is void.';
comment on column outbox.sent_at is 'When a server took it.';
comment on column outbox.dead_at is 'When it was given up.';

create table alert_notice (
    alert_id bigint not null references alert,
    outbox_id bigint not null references outbox on delete cascade,
    primary key (alert_id, outbox_id)
);
create index alert_notice_outbox on alert_notice (outbox_id);
comment on table alert_notice is 'Which alerts a notice tells of: alerts of one version that fire together share one.';
comment on column alert_notice.alert_id is 'The alert.';
comment on column alert_notice.outbox_id is 'The notice.';

create table silence (
    silence_id bigint generated always as identity primary key,
    model text not null,
    version text not null,
    rule text not null,
    output text not null,
    slice text not null,
    starts_at timestamptz not null,
    ends_at timestamptz not null check (ends_at > starts_at),
    created_at timestamptz not null,
    created_by text not null,
    reason text not null,
    ended_at timestamptz,
    ended_by text,
    ended_reason text,
    seal_id bigint not null default current_setting('dosimeter.seal')::bigint,
    check ((ended_at is null) = (ended_by is null) and (ended_at is null) = (ended_reason is null))
);
create index silence_seal on silence (seal_id);
comment on table silence is 'What people do not want to be told for a while. Never changed but for its early end.';
comment on column silence.silence_id is 'Number of the silence.';
comment on column silence.model is 'The model, or * for any.';
comment on column silence.version is 'The version, or *.';
comment on column silence.rule is 'The rule or watch, or *.';
comment on column silence.output is 'The output, or *.';
comment on column silence.slice is 'The slice in canonical form, or *.';
comment on column silence.starts_at is 'When it begins.';
comment on column silence.ends_at is 'When it ends by itself.';
comment on column silence.created_at is 'When it was made.';
comment on column silence.created_by is 'By whom.';
comment on column silence.reason is 'Why.';
comment on column silence.ended_at is 'When a person ended it early.';
comment on column silence.ended_by is 'Who did.';
comment on column silence.ended_reason is 'Why.';
comment on column silence.seal_id is 'The seal of the transaction that wrote it.';

create table audit (
    audit_id bigint primary key,
    at timestamptz not null,
    written_at timestamptz not null,
    actor text not null,
    action text not null,
    subject text not null,
    reason text not null,
    detail json not null,
    previous_hash bytea not null check (octet_length(previous_hash) = 32),
    hash bytea not null check (octet_length(hash) = 32)
);
create index audit_action on audit (action, audit_id);
create index audit_subject on audit using hash (subject);
create index audit_actor on audit using hash (actor);
comment on table audit is 'Who did what, hash-chained, append-only: plan changes, references, alert transitions, human steps, notices sent and given up.';
comment on column audit.audit_id is 'Number of the entry, without gaps.';
comment on column audit.at is 'When, by the clock of the daemon or the command.';
comment on column audit.written_at is 'When it was written, by the database server''s clock.';
comment on column audit.actor is 'Who: dosimeter, or a person.';
comment on column audit.action is 'What was done.';
comment on column audit.subject is 'To what.';
comment on column audit.reason is 'Why.';
comment on column audit.detail is 'Before and after, or other particulars. Text as it was written, for it is hashed.';
comment on column audit.previous_hash is 'Hash of the entry before it.';
comment on column audit.hash is 'SHA-256 of all of it, as docs/audit.md says.';

create table token (
    token_id bigint generated always as identity primary key,
    name text not null unique,
    roles text[] not null check (cardinality(roles) > 0 and roles <@ array['ingest', 'read', 'operate', 'audit', 'admin']),
    models text[],
    hash bytea not null check (octet_length(hash) = 32),
    previous_hash bytea check (octet_length(previous_hash) = 32),
    previous_until timestamptz,
    created_at timestamptz not null,
    created_by text not null,
    rotated_at timestamptz,
    last_used_at timestamptz,
    expires_at timestamptz,
    revoked_at timestamptz,
    revoked_by text,
    revoked_reason text,
    seal_id bigint not null default current_setting('dosimeter.seal')::bigint,
    check ((previous_hash is null) = (previous_until is null)),
    check ((revoked_at is null) = (revoked_by is null) and (revoked_at is null) = (revoked_reason is null))
);
create index token_seal on token (seal_id);
comment on table token is 'What programs and people show to the HTTP interface. A row is never removed: the audit trail names it.';
comment on column token.token_id is 'Number of the token, which stands in it.';
comment on column token.name is 'Its name.';
comment on column token.roles is 'What it is for.';
comment on column token.models is 'The only models it is for; null: all.';
comment on column token.hash is 'SHA-256 of its secret, which is 256 random bits and is kept nowhere.';
comment on column token.previous_hash is 'SHA-256 of the secret before it.';
comment on column token.previous_until is 'The secret before it is good until then.';
comment on column token.created_at is 'When it was made.';
comment on column token.created_by is 'By whom.';
comment on column token.rotated_at is 'When it last got a new secret.';
comment on column token.last_used_at is 'When it was last used, to a minute.';
comment on column token.expires_at is 'When it ends by itself; null: never.';
comment on column token.revoked_at is 'When a person ended it.';
comment on column token.revoked_by is 'Who did.';
comment on column token.revoked_reason is 'Why.';
comment on column token.seal_id is 'The seal of the transaction that wrote it.';

create table lease (
    name text primary key,
    holder text not null,
    fencing bigint not null,
    expires_at timestamptz not null,
    seconds double precision not null
);
comment on table lease is 'Who may run a job now. Times are the server''s own: it is the only clock that replicas share.';
comment on column lease.name is 'The job.';
comment on column lease.holder is 'The process that holds it.';
comment on column lease.fencing is 'Grows with every holder; a job''s transaction checks that it still is the latest.';
comment on column lease.expires_at is 'When others may take it.';
comment on column lease.seconds is 'For how long it was given: one that lasts longer was given by a clock that has been set back.';

create table tally (
    family text not null,
    place text not null,
    kind text not null,
    total bigint not null,
    primary key (family, place, kind)
);
comment on table tally is 'Counts that only grow, whatever retention removes.';
comment on column tally.family is 'What is counted: record, rejection, notice or pull.';
comment on column tally.place is 'The source of records, rejections and failed pulls; the route of notices.';
comment on column tally.kind is 'Outcome of a record or notice, reason of a rejection or a failed pull.';
comment on column tally.total is 'How many there have been.';

create table installation (
    only_row boolean primary key default true check (only_row),
    installation_id text not null,
    link_key text not null,
    tomb_key text not null,
    identity_fingerprint text
);
insert into installation (installation_id, link_key, tomb_key)
values (replace(gen_random_uuid()::text, '-', ''), replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''),
    replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''));
comment on table installation is 'This installation.';
comment on column installation.only_row is 'There is one row.';
comment on column installation.installation_id is 'Its random name, the host part of every Message-ID.';
comment on column installation.link_key is 'Random key that signs the links of notices. Whoever reads it can acknowledge, silence and resolve alerts.';
comment on column installation.tomb_key is 'Random key that, together with the key of the pseudonyms, makes the tombs of gone_case.';
comment on column installation.identity_fingerprint is 'What the key of the pseudonyms makes of a fixed text: another key would give every case another pseudonym, and is refused.';
