-- What the identity provider says of people, asked again while they work. Older replicas know nothing of these tables
-- and need nothing of them: a sign-in that one of them takes has no provider session, and its person stands in `sessions`.

create table people (
    issuer  text        not null,
    subject text        not null,
    person  jsonb       not null,
    checked timestamptz not null,
    primary key (issuer, subject)
);
comment on table people is 'Who somebody is (auth::Person), as the identity provider last said. Counts for all their sessions and tokens.';
comment on column people.checked is 'When it said so. A newer row of `sessions` counts instead.';

create table provider_sessions (
    id            bigint      generated always as identity primary key,
    issuer        text        not null,
    subject       text        not null,
    sid           text,
    refresh_token bytea,
    created       timestamptz not null,
    checked       timestamptz not null,
    constraint provider_sessions_sid unique (issuer, subject, sid)
);
comment on table provider_sessions is 'The identity provider''s side of a sign-in. Deleted when the provider says that it has ended, and what was born of it ends with it.';
comment on column provider_sessions.sid is 'The provider''s own name for it; null where it gives none.';
comment on column provider_sessions.refresh_token is 'Sealed with a key that is derived from the client secret (auth::seal). Null: none was given, or it could not be sealed.';

alter table sessions add column provider_session bigint references provider_sessions (id) on delete cascade;
create index sessions_provider_session on sessions (provider_session);

alter table device_requests add column provider_session bigint references provider_sessions (id) on delete cascade;
alter table authorization_codes add column provider_session bigint references provider_sessions (id) on delete cascade;

-- Who has a token is known from today on, as if the provider had just spoken of them: their tokens go on for as long as
-- an unseen owner's do.
insert into people (issuer, subject, person, checked)
select distinct on (issuer, subject) issuer, subject, person, now()
from (
    select issuer, subject, person, created, 1 as first from sessions
    union all
    select issuer, subject, person, created, 2 as first from tokens
) known
order by issuer, subject, first, created desc;
