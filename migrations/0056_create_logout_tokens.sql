-- Back-channel logout. Older replicas know nothing of it and need nothing of it.

create table logout_tokens (
    jti_hash bytea       primary key,
    expires  timestamptz not null
);
comment on table logout_tokens is 'Logout tokens that were used, until they would be too old anyway: each counts once.';

create index provider_sessions_by_sid on provider_sessions (issuer, sid); -- a logout that names no person
