-- Back-channel logout: what belongs to a session at the provider ends with it. Older replicas leave these columns null,
-- which is what a provider without session ids gives as well.

alter table tokens add column provider_sid text;
comment on column tokens.provider_sid is 'For a token of the command: the provider''s session of the browser that let it in. Personal tokens have none.';
alter table device_requests add column provider_sid text;
alter table authorization_codes add column provider_sid text;

create index sessions_provider_sid on sessions (issuer, provider_sid) where provider_sid is not null; -- a logout that names one
create index tokens_provider_sid on tokens (issuer, provider_sid) where provider_sid is not null;     -- the same

create table logout_tokens (
    jti_hash bytea       primary key,
    expires  timestamptz not null
);
comment on table logout_tokens is 'Logout tokens that were used, until they would be too old anyway: each counts once.';
