-- Broken glass and what people are told. Older replicas know nothing of these tables: a deploy that broke the glass is void to
-- them, for want of an approval, and never goes ahead by mistake.

create table glass_reviews (
    id          bigint      generated always as identity primary key,
    deploy      bigint      references deploys (id),
    title       text        not null,
    target      text        not null,
    environment text        not null,
    team        text        not null,
    cluster     text        not null,
    namespace   text        not null,
    by_person   jsonb       not null,
    reason      text        not null,
    at          timestamptz not null,
    reviewer    jsonb,
    note        text        not null default '',
    reviewed    timestamptz,
    constraint glass_reviews_deploy unique (deploy),
    constraint glass_reviews_whole check ((reviewer is null) = (reviewed is null))
);
comment on table glass_reviews is 'What went ahead without the approval that its environment asks for. Waits until somebody signs it off.';
comment on column glass_reviews.deploy is 'Whose glass was broken. Null: the guard found the change in the cluster.';
comment on column glass_reviews.target is 'As the audit trail names it.';
comment on column glass_reviews.team is 'Whose approvers review it. Empty: nobody is known to own it, so platform does.';
comment on column glass_reviews.by_person is 'Who broke it (auth::Person); of what was found, the program that wrote it.';
create index glass_reviews_waiting on glass_reviews (at) where reviewed is null;   -- approvals page

create table notices (
    id     bigint      generated always as identity primary key,
    kind   text        not null,
    deploy bigint      references deploys (id),
    text   text        not null,
    people jsonb       not null default '[]',
    groups text[]      not null default '{}',
    at     timestamptz not null
);
comment on table notices is 'What somebody is told inside the portal, written in the transaction of what it tells of.';
comment on column notices.people is 'To these people (auth::Identity).';
comment on column notices.groups is 'To whoever is in one of these groups when they look.';
create index notices_people on notices using gin (people jsonb_path_ops);          -- the bell, the home page
create index notices_groups on notices using gin (groups);

create table notice_reads (
    notice  bigint      not null references notices (id),
    issuer  text        not null,
    subject text        not null,
    at      timestamptz not null,
    primary key (notice, issuer, subject)
);
comment on table notice_reads is 'Who has read a notice: many people may get the same one.';
