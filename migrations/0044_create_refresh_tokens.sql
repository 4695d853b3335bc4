-- The command signs in once and refreshes: a row of `tokens` is then the sign-in as a whole, its hash belongs to no
-- secret, and what the command shows are the short-lived tokens below. Older replicas refuse those and list the sign-in.

alter table tokens add column provider_session bigint references provider_sessions (id) on delete cascade;
comment on column tokens.provider_session is 'What the sign-in of a program was born of, and ends with. Null for a token that somebody made by hand.';
create index tokens_provider_session on tokens (provider_session);

create table access_tokens (
    hash    bytea       primary key,
    token   bigint      not null references tokens (id) on delete cascade,
    expires timestamptz not null
);
comment on table access_tokens is 'What a signed-in program shows, for an hour. Only the SHA-256 is kept.';
create index access_tokens_token on access_tokens (token);

create table refresh_tokens (
    hash     bytea       primary key,
    token    bigint      not null references tokens (id) on delete cascade,
    issued   timestamptz not null,
    replaced timestamptz
);
comment on table refresh_tokens is 'What a program gets its next hour with, once. Replaced ones are kept: whoever shows one again has stolen it, or was stolen from.';
create index refresh_tokens_token on refresh_tokens (token);
