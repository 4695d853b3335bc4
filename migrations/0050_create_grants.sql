-- Access requests: a role in a namespace for a while. Older replicas know nothing of these tables and need nothing of them.

create table grants (
    id              bigint      generated always as identity primary key,
    requester       jsonb       not null,
    issuer          text        not null,
    subject         text        not null,
    service         text        not null default '',
    place           jsonb       not null,
    terms           jsonb       not null,
    seconds         bigint      not null,
    reason          text        not null,
    contact         text        not null default '',
    digest          text        not null,
    state           text        not null,
    detail          jsonb       not null,
    idempotency_key text,
    requested       timestamptz not null,
    ended           timestamptz,
    next_event      integer     not null default 1,
    wake            timestamptz not null default now(),
    lease_owner     uuid,
    lease_until     timestamptz,
    fence           bigint      not null default 0,
    constraint grants_idempotency unique (idempotency_key)
);
comment on table grants is 'Access requests, from the question to their end. The queue, the state and the history in one row each.';
comment on column grants.requester is 'The person (auth::Person) whose user name is bound; issuer and subject are theirs, for the indexes.';
comment on column grants.service is 'What they looked at when they asked; empty where they named a team.';
comment on column grants.place is 'Team, environment, cluster and namespace (grants::Place).';
comment on column grants.terms is 'The role of the configuration as it stood at the request (grants::Terms).';
comment on column grants.contact is 'How approvers reach the requester. Shown, never sent anything.';
comment on column grants.digest is 'SHA-256 over person, place, terms and time: what an approval is bound to.';
comment on column grants.detail is 'The state with its data (who granted it, until when); `state` is its name alone, for indexes.';
comment on column grants.fence is 'Grows with every claim. A write by an owner with an older fence hits no row.';
-- Asking twice for the same is one request.
create unique index grants_one_open on grants (issuer, subject, (place ->> 'cluster'), (place ->> 'namespace'), (terms ->> 'role'))
    where ended is null;
create index grants_due on grants (wake) where ended is null;                       -- the engine's claim
create index grants_awaiting on grants (requested) where state = 'requested';       -- approvals inbox, the number in the frame
create index grants_of_person on grants (issuer, subject, id desc);                 -- the list

create table grant_events (
    grant_id bigint      not null references grants (id),
    seq      integer     not null,
    at       timestamptz not null,
    actor    text        not null,
    event    jsonb       not null,
    primary key (grant_id, seq)
);
comment on table grant_events is 'What happened to an access request, gapless from 1. Its state is the fold of these.';
