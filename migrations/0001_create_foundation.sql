-- People, the catalogue, deploys and the trail of what happened.

create table sign_ins (
    state_hash   bytea       primary key,
    nonce        text        not null,
    pkce         text        not null,
    next         text        not null,
    expires      timestamptz not null
);
comment on table sign_ins is 'A sign-in on its way to the identity provider and back. Deleted when used: once only.';

create table sessions (
    id_hash      bytea       primary key,
    issuer       text        not null,
    subject      text        not null,
    provider_sid text,
    person       jsonb       not null,
    id_token     text,
    created      timestamptz not null,
    last_seen    timestamptz not null,
    expires      timestamptz not null
);
comment on table sessions is 'Signed-in browsers. The cookie holds the secret; only its SHA-256 is kept.';
comment on column sessions.last_seen is 'Written at most once a minute: a write per request would cost most of the throughput.';
create index sessions_person on sessions (issuer, subject); -- sign-out everywhere

create table entities (
    id           uuid        primary key,
    kind         text        not null,
    namespace    text        not null,
    name         text        not null,
    source       text        not null,
    line         integer     not null,
    content_hash bytea       not null,
    document     jsonb       not null,
    imported     timestamptz not null default now(),
    constraint entities_ref unique (kind, namespace, name)
);
comment on table entities is 'The catalogue: one row an entity, in the Backstage format, as imported.';
comment on column entities.content_hash is 'SHA-256 of the document: importing the same again writes nothing.';

create table import_problems (
    source  text    not null,
    line    integer not null,
    col     integer not null,
    what    text    not null,
    mend    text    not null,
    found   timestamptz not null default now()
);
comment on table import_problems is 'What the last import of each source could not read, for the people who own the files.';

create table deploys (
    id              bigint      generated always as identity primary key,
    service         text        not null,
    team            text        not null,
    environment     text        not null,
    cluster         text        not null,
    namespace       text        not null,
    action          jsonb       not null,
    requester       jsonb       not null,
    reason          text        not null default '',
    policy          jsonb       not null,
    digest          text        not null,
    state           text        not null,
    detail          jsonb       not null,
    shown           jsonb       not null default '[]',
    progress        jsonb       not null default 'null',
    idempotency_key text,
    requested       timestamptz not null,
    ended           timestamptz,
    next_event      integer     not null default 1,
    wake            timestamptz not null default now(),
    lease_owner     uuid,
    lease_until     timestamptz,
    fence           bigint      not null default 0,
    constraint deploys_idempotency unique (service, environment, idempotency_key)
);
comment on table deploys is 'Every change asked for: deploy, rollback, scale, restart. The queue, the state and the history in one row each.';
comment on column deploys.action is 'What to do, tagged by kind; see deploy::Action.';
comment on column deploys.requester is 'The person (auth::Person) in whose name the cluster is called.';
comment on column deploys.policy is 'The rules of the environment as they stood at the request.';
comment on column deploys.digest is 'SHA-256 over target, image, rendered change and policy: what an approval is bound to.';
comment on column deploys.shown is 'The dry run as the requester saw it; for people to read, not part of the digest.';
comment on column deploys.detail is 'The state with its data (since when, why, what was written); `state` is its name alone, for indexes.';
comment on column deploys.progress is 'What was last observed in the cluster; for pages, never for decisions.';
comment on column deploys.fence is 'Grows with every claim. A write by an owner with an older fence hits no row.';
-- At most one active deploy per service and environment; later ones queue behind it.
create unique index deploys_one_active on deploys (service, environment)
    where state in ('applying', 'rolling_out', 'verifying', 'rolling_back');
create index deploys_due on deploys (wake) where ended is null;                            -- the engine's claim
create index deploys_by_target on deploys (service, environment, id desc);                 -- service page, history
create index deploys_awaiting on deploys (requested) where state = 'awaiting_approval';    -- approvals inbox
create index deploys_recent on deploys (id desc);                                          -- deployments page

create table events (
    deploy  bigint      not null references deploys (id),
    seq     integer     not null,
    at      timestamptz not null,
    actor   text        not null,
    event   jsonb       not null,
    primary key (deploy, seq)
);
comment on table events is 'What happened to a deploy, gapless from 1. Its state is the fold of these.';

create table approvals (
    deploy   bigint      not null references deploys (id),
    issuer   text        not null,
    subject  text        not null,
    person   jsonb       not null,
    verdict  text        not null check (verdict in ('approve', 'reject')),
    note     text        not null default '',
    seen     text        not null,
    at       timestamptz not null,
    constraint approvals_once_each primary key (deploy, issuer, subject)
);
comment on column approvals.seen is 'The digest the approver had on screen; counts only while it equals the deploy''s.';

create table releases (
    id          bigint      generated always as identity primary key,
    deploy      bigint      not null unique references deploys (id),
    service     text        not null,
    environment text        not null,
    version     text        not null,
    digest      text,
    change      jsonb       not null,
    by_person   jsonb       not null,
    approved    boolean     not null,
    at          timestamptz not null
);
comment on table releases is 'Successes: what a target ran, and can be rolled back to.';
comment on column releases.change is 'The deploy::ImageChange that was applied, images by digest.';
comment on column releases.approved is 'It went through an approval, so a rollback to it needs no new one.';
create index releases_by_target on releases (service, environment, id desc);

create table audit (
    id         bigint      generated always as identity primary key,
    at         timestamptz not null,
    issuer     text        not null,
    subject    text        not null,
    name       text        not null,
    username   text        not null,
    action     text        not null,
    target     text        not null,
    outcome    text        not null,
    origin     text        not null,
    request_id text        not null,
    detail     jsonb       not null default '{}',
    previous   bytea       not null,
    hash       bytea       not null
);
comment on table audit is 'Append-only. Each row''s hash covers its content and the hash before it.';
create rule audit_no_update as on update to audit do instead nothing;
create rule audit_no_delete as on delete to audit do instead nothing;
