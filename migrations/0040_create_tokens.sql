-- What programs sign in with. Older replicas know nothing of these tables and need nothing of them.

create table tokens (
    id        bigint      generated always as identity primary key,
    hash      bytea       not null,
    issuer    text        not null,
    subject   text        not null,
    person    jsonb       not null,
    name      text        not null,
    scopes    text[]      not null check (scopes <@ array['read', 'deploy', 'production', 'approve']),
    created   timestamptz not null,
    expires   timestamptz not null,
    last_used timestamptz,
    constraint tokens_hash unique (hash)
);
comment on table tokens is 'Personal tokens. The secret is shown once; only its SHA-256 is kept. A revoked one is deleted, the audit trail remembers it.';
comment on column tokens.person is 'The owner (auth::Person) when it was made. The groups of a newer sign-in count instead.';
comment on column tokens.last_used is 'Written at most once a minute: a write per request would cost most of the throughput.';
create index tokens_owner on tokens (issuer, subject); -- the list on the settings page, the limit

create table device_requests (
    device_hash bytea       primary key,
    user_code   text        not null,
    host        text        not null,
    origin      text        not null,
    created     timestamptz not null,
    expires     timestamptz not null,
    polled      timestamptz,
    allowed     boolean,
    person      jsonb,
    constraint device_requests_user_code unique (user_code)
);
comment on table device_requests is 'A program on a device without a browser that waits to be let in (RFC 8628). Deleted when its token is fetched.';
comment on column device_requests.allowed is 'What the person said on the page; null while nobody has.';

create table authorization_codes (
    code_hash    bytea       primary key,
    challenge    text        not null,
    redirect_uri text        not null,
    host         text        not null,
    person       jsonb       not null,
    expires      timestamptz not null
);
comment on table authorization_codes is 'A program that was let in by the browser beside it and has yet to fetch its token (RFC 8252). Deleted when used: once only.';
