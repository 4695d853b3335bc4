-- What runs where a guard holds, as the portal last saw it. Older replicas know nothing of these tables and need nothing of them.

create table guarded_sources (
    cluster          text        not null,
    uid              text        not null,
    namespace        text        not null,
    kind             text        not null,
    name             text        not null,
    resource_version bigint      not null,
    generation       bigint,
    runs             text        not null,
    images           jsonb       not null,
    gone             timestamptz,
    primary key (cluster, uid)
);
comment on table guarded_sources is 'Everything that says what pods run, where a guard holds: a change of it that no deploy explains is told in the audit trail, once.';
comment on column guarded_sources.resource_version is 'Of the write that last changed `runs`. A replica whose watch is behind finds a higher one and is silent.';
comment on column guarded_sources.runs is 'SHA-256 of the pod template''s spec.';
comment on column guarded_sources.gone is 'Deleted. Kept for a day, so that a replica whose watch is behind does not take it for new.';

create table guard_baselines (
    cluster   text        not null,
    namespace text        not null,
    kind      text        not null,
    taken     timestamptz not null default now(),
    primary key (cluster, namespace, kind)
);
comment on table guard_baselines is 'Where all of a kind was seen once. What ran there before the guard is nobody''s fault.';

create table guard_credits (
    marker  text        primary key,
    deploy  bigint      not null references deploys (id),
    cluster text        not null,
    uid     text        not null,
    runs    text        not null,
    at      timestamptz not null default now()
);
comment on table guard_credits is 'The changes that an approved deploy explains, by the marker that it left. One each: marks that are copied by hand explain nothing.';
